"""What an answer, or none, says of a link.

Only the site's own "there is nothing here", and a name that nobody has, are death at a look. Other trouble may be over
tomorrow. And who does not talk to machines, or is where we may not go, tells us nothing: it may talk to people.
"""

import errno
import ssl
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import aiohttp

from pkg.link_checker.address_guard import AddressRefused
from pkg.link_checker.name_resolver import NoSuchName
from pkg.object_model.types import LinkReason, LinkStatus, Verdict


def _dead(reason: LinkReason) -> Verdict:
    return Verdict(status=LinkStatus.INVALID, reason=reason)


def _trouble(reason: LinkReason) -> Verdict:
    return Verdict(status=LinkStatus.PENDING, reason=reason, transient=True)


def _unknown(reason: LinkReason) -> Verdict:
    return Verdict(status=LinkStatus.PENDING, reason=reason)


VALID: Final = Verdict(status=LinkStatus.VALID, reason=LinkReason.OK)
NOT_FOUND: Final = _dead(LinkReason.NOT_FOUND)
GONE: Final = _dead(LinkReason.GONE)
NO_SUCH_NAME: Final = _dead(LinkReason.NO_SUCH_NAME)

SOFT_NOT_FOUND: Final = _trouble(LinkReason.SOFT_NOT_FOUND)
RATE_LIMITED: Final = _trouble(LinkReason.RATE_LIMITED)
SERVER_ERROR: Final = _trouble(LinkReason.SERVER_ERROR)
TIMED_OUT: Final = _trouble(LinkReason.TIMED_OUT)
DNS_FAILED: Final = _trouble(LinkReason.DNS_FAILED)
CONNECTION_REFUSED: Final = _trouble(LinkReason.CONNECTION_REFUSED)
UNREACHABLE: Final = _trouble(LinkReason.UNREACHABLE)
#: A connection came about, and broke before there was an answer.
CONNECTION_LOST: Final = _trouble(LinkReason.CONNECTION_LOST)
TLS_FAILED: Final = _trouble(LinkReason.TLS_FAILED)
MALFORMED_ANSWER: Final = _trouble(LinkReason.MALFORMED_ANSWER)
TOO_MANY_REDIRECTS: Final = _trouble(LinkReason.TOO_MANY_REDIRECTS)
BAD_REDIRECT: Final = _trouble(LinkReason.BAD_REDIRECT)

FORBIDDEN: Final = _unknown(LinkReason.FORBIDDEN)
ROBOTS: Final = _unknown(LinkReason.ROBOTS)
UNSUPPORTED_URL: Final = _unknown(LinkReason.UNSUPPORTED_URL)
ADDRESS_NOT_ALLOWED: Final = _unknown(LinkReason.ADDRESS_NOT_ALLOWED)

_VERDICTS: Final[Mapping[int, Verdict]] = MappingProxyType(
    {404: NOT_FOUND, 408: TIMED_OUT, 410: GONE, 425: RATE_LIMITED, 429: RATE_LIMITED}
)


def judge_status(status: int) -> Verdict:
    """Of the answer at the end of all redirects."""
    if status < 400:
        return VALID
    if 500 <= status < 600:
        return SERVER_ERROR
    return _VERDICTS.get(status, FORBIDDEN)


#: By OpenSSL's code of the fault (x509_vfy.h): expired, not valid yet; signed by itself, alone or at the end of a
#: chain; for another name or address.
_CERTIFICATES: Final[Mapping[int, LinkReason]] = MappingProxyType(
    {
        9: LinkReason.CERTIFICATE_EXPIRED,
        10: LinkReason.CERTIFICATE_EXPIRED,
        18: LinkReason.CERTIFICATE_SELF_SIGNED,
        19: LinkReason.CERTIFICATE_SELF_SIGNED,
        62: LinkReason.CERTIFICATE_OF_ANOTHER_HOST,
        64: LinkReason.CERTIFICATE_OF_ANOTHER_HOST,
    }
)

#: The first that fits holds: aiohttp's own time-outs, for one, are other faults as well.
_FAULTS: Final[tuple[tuple[type[Exception], Verdict], ...]] = (
    # A number in a form that each system reads in its own way.
    (aiohttp.InvalidURL, ADDRESS_NOT_ALLOWED),
    (TimeoutError, TIMED_OUT),
    (aiohttp.ClientSSLError, TLS_FAILED),
    (aiohttp.ClientConnectorDNSError, DNS_FAILED),
    (aiohttp.ClientConnectorError, UNREACHABLE),
    (aiohttp.ClientOSError, CONNECTION_LOST),
    (aiohttp.ServerDisconnectedError, CONNECTION_LOST),
)


def judge_fault(fault: aiohttp.ClientError) -> Verdict:
    """Of what kept us from an answer."""
    if isinstance(fault, aiohttp.ClientConnectorCertificateError):
        return _judge_certificate(fault.certificate_error)
    if isinstance(fault, aiohttp.ClientConnectorError):
        if isinstance(fault.os_error, AddressRefused):
            return ADDRESS_NOT_ALLOWED
        if isinstance(fault.os_error, NoSuchName):
            return NO_SUCH_NAME
        if fault.os_error.errno == errno.ECONNREFUSED:
            return CONNECTION_REFUSED
        if isinstance(fault.os_error, ConnectionError):
            # While TLS was agreed on.
            return CONNECTION_LOST
    return next((verdict for kind, verdict in _FAULTS if isinstance(fault, kind)), MALFORMED_ANSWER)


def _judge_certificate(fault: Exception) -> Verdict:
    code = fault.verify_code if isinstance(fault, ssl.SSLCertVerificationError) else 0
    return _trouble(_CERTIFICATES.get(code, LinkReason.CERTIFICATE_UNTRUSTED))
