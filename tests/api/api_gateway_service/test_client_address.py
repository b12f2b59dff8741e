"""Where a request comes from: believed as far as those are trusted who say so."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from svc.api_gateway_service.client_address import ClientAddresses, ForwardedHeader, parse_networks, read_address
from tests.api.api_gateway_service.conftest import SETTINGS

INSIDE = parse_networks("10.0.0.0/8, fd00::/8, 192.0.2.1")
LISTED = ForwardedHeader.X_FORWARDED_FOR


def find(
    peer: str | None,
    *values: str,
    header: ForwardedHeader = LISTED,
    trusted: str = "10.0.0.0/8,fd00::/8,192.0.2.1",
    also: tuple[str, str] | None = None,
) -> str:
    sent = [(header.encode(), value.encode()) for value in values]
    if also:
        sent.append((also[0].encode(), also[1].encode()))
    scope: dict[str, Any] = {"type": "http", "client": peer and (peer, 4711), "headers": sent}
    return ClientAddresses(parse_networks(trusted), header).find(scope)


@pytest.mark.parametrize("header", ForwardedHeader)
@pytest.mark.parametrize("value", ["203.0.113.7", "for=203.0.113.7", "10.1.1.1", "", ",,,"])
def test_a_stranger_is_not_believed(header: ForwardedHeader, value: str) -> None:
    assert find("198.51.100.1", value, header=header) == "198.51.100.1"
    assert find("198.51.100.1", value, header=header, trusted="") == "198.51.100.1"


@pytest.mark.parametrize(
    ("values", "client"),
    [
        ([], "10.0.0.1"),
        ([""], "10.0.0.1"),
        (["203.0.113.7"], "203.0.113.7"),
        (["203.0.113.7, 10.2.2.2"], "203.0.113.7"),
        # What the client itself wrote stands to the left of what our proxy saw.
        (["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
        (["10.9.9.9, 203.0.113.7"], "203.0.113.7"),
        (["1.1.1.1", "203.0.113.7, 10.2.2.2"], "203.0.113.7"),
        (["203.0.113.7", "192.0.2.1", "10.2.2.2"], "203.0.113.7"),
        # Everybody is trusted: whoever is furthest away is the client.
        (["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
        # With a port, of IPv6, in brackets, of IPv4 on a socket of IPv6.
        (["203.0.113.7:8080"], "203.0.113.7"),
        (["2001:db8::7"], "2001:db8::7"),
        (["2001:DB8:0:0::7"], "2001:db8::7"),
        (["[2001:db8::7]:8080"], "2001:db8::7"),
        (["[2001:db8::7]"], "2001:db8::7"),
        (["::ffff:203.0.113.7"], "203.0.113.7"),
        (["203.0.113.7, fd00::1"], "203.0.113.7"),
        (["203.0.113.7, ::ffff:10.1.1.1"], "203.0.113.7"),
        # Nonsense ends the way: the last hop that we know of stands for what is behind it.
        (["unknown"], "10.0.0.1"),
        (["203.0.113.7, unknown, 10.2.2.2"], "10.2.2.2"),
        (["203.0.113.7, , 10.2.2.2"], "10.2.2.2"),
        (["203.0.113.7, 10.2.2.2:port:99"], "10.0.0.1"),
        (["fe80::1%eth0"], "10.0.0.1"),
        (["203.0.113.999"], "10.0.0.1"),
        (["127.1"], "10.0.0.1"),
        (["x" * 5000], "10.0.0.1"),
    ],
)
def test_the_first_from_the_right_who_is_not_trusted(values: list[str], client: str) -> None:
    assert find("10.0.0.1", *values) == client


@pytest.mark.parametrize(
    ("values", "client"),
    [
        (["for=203.0.113.7"], "203.0.113.7"),
        (["For=203.0.113.7;proto=https;by=10.0.0.1"], "203.0.113.7"),
        (['for="[2001:db8::7]:4711"'], "2001:db8::7"),
        (['for="203.0.113.7:80" ; host=example.org'], "203.0.113.7"),
        (["for=1.1.1.1, for=203.0.113.7, for=10.2.2.2"], "203.0.113.7"),
        (["for=1.1.1.1", "for=203.0.113.7"], "203.0.113.7"),
        (["for=_hidden"], "10.0.0.1"),
        (["for=unknown, for=10.2.2.2"], "10.2.2.2"),
        (["proto=https"], "10.0.0.1"),
        (["203.0.113.7"], "10.0.0.1"),
        (['for="203.0.113.7, for=10.2.2.2'], "203.0.113.7"),
    ],
)
def test_forwarded(values: list[str], client: str) -> None:
    assert find("10.0.0.1", *values, header=ForwardedHeader.FORWARDED) == client


def test_the_other_header_says_nothing() -> None:
    """A proxy passes on what it does not write itself."""
    assert find("10.0.0.1", "203.0.113.7", also=("forwarded", "for=1.1.1.1")) == "203.0.113.7"
    assert (
        find("10.0.0.1", "for=203.0.113.7", header=ForwardedHeader.FORWARDED, also=("x-forwarded-for", "1.1.1.1"))
        == "203.0.113.7"
    )


def test_a_long_way_is_not_gone_to_its_end() -> None:
    assert find("10.0.0.1", ", ".join(["1.1.1.1"] + ["10.2.2.2"] * 1000)) == "10.2.2.2"


@pytest.mark.parametrize(
    ("peer", "client"), [(None, ""), ("", ""), ("/run/socket", ""), ("::ffff:198.51.100.1", "198.51.100.1")]
)
def test_whoever_connects(peer: str | None, client: str) -> None:
    assert find(peer) == client


@given(st.text(max_size=100))
def test_anything_is_an_address_or_none(text: str) -> None:
    found = read_address(text)
    assert found is None or read_address(found) == found


@given(st.lists(st.text(max_size=60), max_size=5), st.sampled_from(ForwardedHeader))
def test_whatever_is_sent_there_is_an_answer(values: list[str], header: ForwardedHeader) -> None:
    sent = [value.encode("latin-1", "replace").decode("latin-1") for value in values]
    assert read_address(find("10.0.0.1", *sent, header=header))


def test_networks_that_are_none_stop_the_start() -> None:
    assert len(INSIDE) == 3
    for nonsense in ("10.0.0.1/8", "ten", "10.0.0.0/33"):
        with pytest.raises(ValidationError):
            type(SETTINGS)(**{**SETTINGS.model_dump(), "trusted_proxies": nonsense})
