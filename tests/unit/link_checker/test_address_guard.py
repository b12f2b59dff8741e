"""What a check may reach, address by address."""

import socket
from ipaddress import ip_address

import pytest

from pkg.link_checker.address_guard import (
    MAX_ALLOWED,
    WEB_PORTS,
    AddressRefused,
    is_public,
    open_guarded_socket,
    parse_allowed,
)

CLOSED = {
    "this network": "0.0.0.0",  # noqa: S104  # as an address to go to
    "this network, further": "0.1.2.3",
    "loopback": "127.0.0.1",
    "loopback, further": "127.255.255.254",
    "private 10": "10.0.0.1",
    "private 172": "172.16.0.1",
    "private 172, last": "172.31.255.255",
    "private 192": "192.168.1.1",
    "carrier-grade NAT": "100.64.0.1",
    "carrier-grade NAT, last": "100.127.255.255",
    "metadata": "169.254.169.254",
    "metadata of Alibaba": "100.100.100.200",
    "metadata of Oracle": "192.0.0.192",
    "host agent of Azure": "168.63.129.16",
    "link-local": "169.254.1.1",
    "documentation 1": "192.0.2.1",
    "documentation 2": "198.51.100.1",
    "documentation 3": "203.0.113.1",
    "benchmarks": "198.19.255.255",
    "6to4 relay": "192.88.99.1",
    "multicast": "224.0.0.1",
    "multicast, last": "239.255.255.255",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
    "IPv6 unspecified": "::",
    "IPv6 loopback": "::1",
    "IPv6 link-local": "fe80::1",
    "IPv6 link-local with a zone": "fe80::1%1",
    "IPv6 site-local": "fec0::1",
    "IPv6 unique local": "fd12:3456::1",
    "IPv6 metadata": "fd00:ec2::254",
    "IPv6 multicast": "ff02::1",
    "IPv6 discard": "100::1",
    "IPv6 documentation": "2001:db8::1",
    "IPv6 documentation, new": "3fff::1",
    "IPv6 benchmarks": "2001:2::1",
    "IPv4-mapped loopback": "::ffff:127.0.0.1",
    "IPv4-mapped private": "::ffff:10.0.0.1",
    "IPv4-mapped metadata": "::ffff:169.254.169.254",
    "IPv4-compatible loopback": "::127.0.0.1",
    "IPv4-compatible public": "::8.8.8.8",
    "IPv4-translated": "::ffff:0:127.0.0.1",
    "6to4 of loopback": "2002:7f00:1::",
    "6to4 of a public one": "2002:808:808::",
    "NAT64 of loopback": "64:ff9b::127.0.0.1",
    "NAT64 of private": "64:ff9b::10.0.0.1",
    "NAT64 of metadata": "64:ff9b::169.254.169.254",
    "NAT64, local prefix": "64:ff9b:1::8.8.8.8",
    "Teredo": "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "ORCHID": "2001:20::1",
    "segment routing": "5f00::1",
}
OPEN = {
    "IPv4": "93.184.215.14",
    "IPv4 below private 10": "9.255.255.255",
    "IPv4 above private 10": "11.0.0.0",
    "IPv4 below private 172": "172.15.255.255",
    "IPv4 above private 172": "172.32.0.0",
    "IPv4 below carrier-grade NAT": "100.63.255.255",
    "IPv4 above carrier-grade NAT": "100.128.0.0",
    "IPv4, last": "223.255.255.255",
    "IPv4-mapped": "::ffff:93.184.215.14",
    "NAT64": "64:ff9b::93.184.215.14",
    "IPv6": "2606:2800:21f:cb07:6820:80da:af6b:8b2c",
    "IPv6 of a registry": "2001:4860:4860::8888",
}


def info(address: str, port: int) -> tuple[object, ...]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    destination = (address, port, 0, 0) if ":" in address else (address, port)
    return family, socket.SOCK_STREAM, 0, "", destination


@pytest.mark.parametrize("address", CLOSED.values(), ids=CLOSED.keys())
def test_what_is_not_public_gets_no_socket(address: str) -> None:
    assert not is_public(ip_address(address))
    with pytest.raises(AddressRefused):
        open_guarded_socket(info(address, 443))


@pytest.mark.parametrize("address", OPEN.values(), ids=OPEN.keys())
def test_what_is_public_gets_one(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("port", sorted(WEB_PORTS))
def test_the_web_has_these_ports(port: int) -> None:
    with open_guarded_socket(info("93.184.215.14", port)) as opened:
        assert opened.family == socket.AF_INET


@pytest.mark.parametrize("port", [0, 22, 25, 53, 81, 8080, 8443, 2375, 4222, 5432, 6379, 6443, 9200, 10250, 65_535])
def test_other_ports_are_not_for_us(port: int) -> None:
    with pytest.raises(AddressRefused):
        open_guarded_socket(info("93.184.215.14", port))


def test_allowed_places_are_read() -> None:
    assert parse_allowed("") == frozenset()
    assert parse_allowed(" 127.0.0.1:8099, Demo-Site:80 ,[::1]:8080,") == {
        ("127.0.0.1", 8099),
        ("demo-site", 80),
        ("::1", 8080),
    }


@pytest.mark.parametrize("text", ["demo-site", "demo-site:", ":80", "a:0", "a:65536", "a:x", "http://a:80", "a:٣"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not host:port"):
        parse_allowed(text)


def test_there_are_not_too_many() -> None:
    with pytest.raises(ValueError, match="more than"):
        parse_allowed(",".join(f"host-{number}:80" for number in range(MAX_ALLOWED + 1)))
