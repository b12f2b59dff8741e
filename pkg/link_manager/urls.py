"""URLs that can be saved, and when two of them are one.

A URL is shown as it was saved. Two are equal when their canonical forms are: scheme and host in lower case, IDN in
ASCII, no default port, ``/`` for an empty path, percent-encoding normalised (RFC 3986, section 6.2.2). Query and
fragment are significant.
"""

import hashlib
import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

import idna

from pkg.object_model.errors import InvalidArgument

MAX_URL_LENGTH: Final = 2_048

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?")
_MAX_HOST_LENGTH: Final = 255
#: What stands for itself in path, query and fragment: unreserved characters, sub-delimiters and ``:@/?`` (RFC 3986,
#: 3.3 to 3.5).
_PLAIN: Final = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:@/?]*")
_NOT_PLAIN: Final = re.compile(r"%([0-9A-Fa-f]{2})|[^A-Za-z0-9\-._~!$&'()*+,;=:@/?]")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class SavedUrl:
    #: As it was given, without blanks around it.
    text: str
    canonical: str

    @property
    def key(self) -> bytes:
        """SHA-256 of the canonical form: a long URL does not fit an index."""
        return hashlib.sha256(self.canonical.encode()).digest()


def parse_url(given: str) -> SavedUrl:
    """
    Raises:
        InvalidArgument: it is not an absolute http or https URL, is too long, or has a user name or password in it.
    """
    text = given.strip()
    if not text:
        raise InvalidArgument("url is empty; send an absolute http or https URL", code="invalid_url")
    if len(text) > MAX_URL_LENGTH:
        raise InvalidArgument(f"url is longer than {MAX_URL_LENGTH} characters; use a shorter one", code="url_too_long")
    if _CONTROL.search(text):
        raise InvalidArgument("url has control characters in it; remove them", code="invalid_url")
    try:
        text.encode()
        parts = urlsplit(text)
    except ValueError:
        raise _invalid("cannot be read") from None
    scheme = parts.scheme.lower()
    if scheme not in _DEFAULT_PORTS:
        raise _wrong_scheme(scheme)
    if "@" in parts.netloc:
        raise InvalidArgument(
            "url has a user name or password in it, which others would see; remove it", code="url_with_credentials"
        )
    host = _canonical_host(parts.hostname or "", is_address=parts.netloc.startswith("["))
    port = _read_port(parts)
    authority = host if port in (None, _DEFAULT_PORTS[scheme]) else f"{host}:{port}"
    _, _, after = text.partition("//")
    rest = after[len(parts.netloc) :]
    before, hash_sign, fragment = rest.partition("#")
    path, question_mark, query = before.partition("?")
    canonical = "".join(
        (
            f"{scheme}://{authority}",
            _normalise(path) or "/",
            question_mark + _normalise(query),
            hash_sign + _normalise(fragment),
        )
    )
    return SavedUrl(text, canonical)


def _read_port(parts: SplitResult) -> int | None:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise _invalid("has no valid port")
    return port


def _canonical_host(host: str, *, is_address: bool) -> str:
    """``is_address``: it stands in brackets."""
    if is_address or ":" in host:
        try:
            return f"[{ipaddress.IPv6Address(host)}]"
        except ValueError:
            raise _invalid("has no valid IPv6 address") from None
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True, transitional=False).decode()
        except (idna.IDNAError, UnicodeError):
            raise _invalid("has no valid host name") from None
    host = host.lower()
    if len(host) > _MAX_HOST_LENGTH or not _HOST.fullmatch(host):
        raise _invalid("has no valid host name" if host else "has no host name")
    return host


def _normalise(part: str) -> str:
    return part if _PLAIN.fullmatch(part) else _NOT_PLAIN.sub(_normalise_character, part)


def _normalise_character(found: re.Match[str]) -> str:
    if digits := found[1]:
        character = chr(int(digits, 16))
        return character if character in _UNRESERVED else f"%{digits.upper()}"
    return "".join(f"%{byte:02X}" for byte in found[0].encode())


def _wrong_scheme(scheme: str) -> InvalidArgument:
    if not scheme:
        return _invalid("has no scheme")
    return InvalidArgument(f"url must begin with http:// or https://, not {scheme[:20]}:", code="unsupported_scheme")


def _invalid(what: str) -> InvalidArgument:
    return InvalidArgument(f"url {what}; send an absolute http or https URL", code="invalid_url")
