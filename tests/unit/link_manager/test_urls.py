"""Which URLs can be saved, and which are one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkg.link_manager.urls import MAX_URL_LENGTH, parse_url
from pkg.object_model.errors import InvalidArgument

CANONICAL = [
    ("https://example.com", "https://example.com/"),
    ("HTTPS://EXAMPLE.com:443", "https://example.com/"),
    ("http://example.com:80/", "http://example.com/"),
    ("http://example.com:/", "http://example.com/"),
    ("http://example.com:443/", "http://example.com:443/"),
    ("  https://example.com/a  ", "https://example.com/a"),
    ("https://example.com/A/b?C=d#E", "https://example.com/A/b?C=d#E"),
    ("https://example.com?q", "https://example.com/?q"),
    ("https://example.com/?", "https://example.com/?"),
    ("https://example.com/#", "https://example.com/#"),
    ("https://example.com#f", "https://example.com/#f"),
    ("https://example.com/%7euser/%c3%a9", "https://example.com/~user/%C3%A9"),
    ("https://example.com/é b", "https://example.com/%C3%A9%20b"),
    ("https://example.com/100%", "https://example.com/100%25"),
    ("https://example.com/%zz", "https://example.com/%25zz"),
    ("https://example.com/?a[]=1|2", "https://example.com/?a%5B%5D=1%7C2"),
    ("https://example.com/a%2Fb", "https://example.com/a%2Fb"),
    ("https://bücher.example/", "https://xn--bcher-kva.example/"),
    ("https://BÜCHER.example/", "https://xn--bcher-kva.example/"),
    ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"),
    ("https://例え.jp/", "https://xn--r8jz45g.jp/"),
    ("https://my_host.example/", "https://my_host.example/"),
    ("https://example.com./", "https://example.com./"),
    ("http://127.0.0.1:8000/x", "http://127.0.0.1:8000/x"),
    ("http://[2001:DB8:0::1]:80/", "http://[2001:db8::1]/"),
    ("https://example.com/a//b/../c/.", "https://example.com/a//b/../c/."),
    ("https://example.com/a#b#c", "https://example.com/a#b%23c"),
]
REFUSED = [
    ("", "invalid_url"),
    ("   ", "invalid_url"),
    ("nonsense", "invalid_url"),
    ("//example.com/", "invalid_url"),
    ("/path", "invalid_url"),
    ("https://", "invalid_url"),
    ("https:///path", "invalid_url"),
    ("https:example.com", "invalid_url"),
    ("http://[::1", "invalid_url"),
    ("http://[nonsense]/", "invalid_url"),
    ("http://[v1.a]/", "invalid_url"),
    ("http://[127.0.0.1]/", "invalid_url"),
    ("http://example.com:99999/", "invalid_url"),
    ("http://example.com:0/", "invalid_url"),
    ("http://example.com:8o/", "invalid_url"),
    ("http://exa mple.com/", "invalid_url"),
    ("http://a..b/", "invalid_url"),
    ("http://a%2eb/", "invalid_url"),
    ("https://good.example\\evil.example/", "invalid_url"),
    ("https://example.com/a\nb", "invalid_url"),
    ("https://example.com/\x00", "invalid_url"),
    ("https://example.com/\ud800", "invalid_url"),
    ("https://\u2100.example@x/", "invalid_url"),
    ("ftp://example.com/", "unsupported_scheme"),
    ("javascript:alert(1)", "unsupported_scheme"),
    ("place:sort=8", "unsupported_scheme"),
    ("data:text/html,x", "unsupported_scheme"),
    ("mailto:a@b.example", "unsupported_scheme"),
    ("https://user:secret@example.com/", "url_with_credentials"),
    ("https://user@example.com/", "url_with_credentials"),
    ("https://@example.com/", "url_with_credentials"),
    ("https://good.example\\@evil.example/", "url_with_credentials"),
    ("https://example.com/" + "a" * MAX_URL_LENGTH, "url_too_long"),
]


@pytest.mark.parametrize(("text", "canonical"), CANONICAL)
def test_canonical_form(text: str, canonical: str) -> None:
    url = parse_url(text)
    assert url.canonical == canonical
    assert url.text == text.strip()
    assert parse_url(canonical).key == url.key


@pytest.mark.parametrize(("text", "code"), REFUSED)
def test_refused(text: str, code: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        parse_url(text)
    assert refused.value.code == code
    assert "secret" not in refused.value.message


def test_the_longest_url_is_taken() -> None:
    url = "https://example.com/" + "é" * (MAX_URL_LENGTH - 20)
    assert len(parse_url(url).key) == 32


@given(st.text(max_size=60))
def test_whatever_is_saved_is_canonical_once_and_for_all(tail: str) -> None:
    try:
        url = parse_url("https://example.com/" + tail)
    except InvalidArgument:
        return
    assert url.canonical.isascii()
    assert parse_url(url.canonical).canonical == url.canonical
