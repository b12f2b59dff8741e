"""Where a dead link's copy would be: the template, and the URL in it."""

import pytest

from pkg.link_manager.archive import DEFAULT_TEMPLATE, archived_url, parse_template

IN_QUERY = "https://archive.example/find?page={url}&date=any"


@pytest.mark.parametrize("template", ["", DEFAULT_TEMPLATE, IN_QUERY, "http://localhost:8080/2020/{url}"])
def test_a_template_is_taken_as_it_is(template: str) -> None:
    assert parse_template(template) == template


@pytest.mark.parametrize(
    "template",
    [
        "archive.example/{url}",
        "ftp://archive.example/{url}",
        "https://archive.example/",
        "https://archive.example/{URL}",
        "https://archive.example/{url}{url}",
        "https://archive.example/{url}/latest",
        "https://archive.example/#{url}",
        "https://{url}",
        "https://{url}.archive.example/",
        "https://archive{url}",
        "https://ärchive.example/{url}",
        "https://archive.example/" + "a" * 500 + "{url}",
    ],
)
def test_a_template_that_cannot_work_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_template(template)


@pytest.mark.parametrize(
    ("url", "in_path", "in_query"),
    [
        ("https://a.example/", "https://a.example/", "https%3A%2F%2Fa.example%2F"),
        # Its own query does not become the archive's, and what is escaped stays so.
        (
            "http://a.example/p?x=1&y=%20#f",
            "http://a.example/p?x=1&y=%20#f",
            "http%3A%2F%2Fa.example%2Fp%3Fx%3D1%26y%3D%2520%23f",
        ),
        ("https://a.example/{url}", "https://a.example/%7Burl%7D", "https%3A%2F%2Fa.example%2F%257Burl%257D"),
        (
            'https://a.example/a b"<é>',
            "https://a.example/a%20b%22%3C%C3%A9%3E",
            "https%3A%2F%2Fa.example%2Fa%2520b%2522%253C%25C3%25A9%253E",
        ),
        ("HTTPS://BÜCHER.example:443", "https://xn--bcher-kva.example/", "https%3A%2F%2Fxn--bcher-kva.example%2F"),
    ],
)
def test_the_url_stands_in_the_template_as_it_must(url: str, in_path: str, in_query: str) -> None:
    assert archived_url(DEFAULT_TEMPLATE, url) == f"https://web.archive.org/web/{in_path}"
    assert archived_url(IN_QUERY, url) == f"https://archive.example/find?page={in_query}&date=any"
