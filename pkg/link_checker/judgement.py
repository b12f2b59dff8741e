"""What an answer, or none, says of a link.

Only the site's own "there is nothing here", and a name that nobody has, are death. All else that is not a success
leaves the link as it was: who cannot be reached today may be there tomorrow, and who does not talk to machines may talk
to people.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import aiohttp

from pkg.link_checker.address_guard import AddressRefused
from pkg.link_checker.name_resolver import NoSuchName
from pkg.object_model.types import LinkStatus, Verdict


def _unknown(reason: str, *, transient: bool = False) -> Verdict:
    return Verdict(status=LinkStatus.PENDING, reason=reason, transient=transient)


VALID: Final = Verdict(status=LinkStatus.VALID, reason="ok")
#: The site never had it, or says nothing about that.
NOT_FOUND: Final = Verdict(status=LinkStatus.INVALID, reason="not_found")
#: The site had it.
GONE: Final = Verdict(status=LinkStatus.INVALID, reason="gone")
NO_SUCH_NAME: Final = Verdict(status=LinkStatus.INVALID, reason="no_such_name")

RATE_LIMITED: Final = _unknown("rate_limited", transient=True)
SERVER_ERROR: Final = _unknown("server_error", transient=True)
TIMED_OUT: Final = _unknown("timed_out", transient=True)
DNS_FAILED: Final = _unknown("dns_failed", transient=True)
#: No connection came about.
UNREACHABLE: Final = _unknown("unreachable", transient=True)
#: It came about, and broke before there was an answer.
CONNECTION_LOST: Final = _unknown("connection_lost", transient=True)

#: Another look, soon, would see the same. The site answers, but not us: a login, a robot check, a wrong request.
REFUSED: Final = _unknown("refused")
CERTIFICATE_INVALID: Final = _unknown("certificate_invalid")
TLS_FAILED: Final = _unknown("tls_failed")
MALFORMED_ANSWER: Final = _unknown("malformed_answer")
TOO_MANY_REDIRECTS: Final = _unknown("too_many_redirects")
#: To what is no http or https URL.
BAD_REDIRECT: Final = _unknown("bad_redirect")
#: No absolute http or https URL, one with a user name in it, or too long.
UNSUPPORTED_URL: Final = _unknown("unsupported_url")
ADDRESS_NOT_ALLOWED: Final = _unknown("address_not_allowed")

_VERDICTS: Final[Mapping[int, Verdict]] = MappingProxyType(
    {404: NOT_FOUND, 408: TIMED_OUT, 410: GONE, 425: RATE_LIMITED, 429: RATE_LIMITED}
)


def judge_status(status: int) -> Verdict:
    """Of the answer at the end of all redirects. Other rules, of what a page says, have their place here."""
    if status < 400:
        return VALID
    if 500 <= status < 600:
        return SERVER_ERROR
    return _VERDICTS.get(status, REFUSED)


#: The first that fits holds: aiohttp's own time-outs, for one, are other faults as well.
_FAULTS: Final[tuple[tuple[type[Exception], Verdict], ...]] = (
    # A number in a form that each system reads in its own way.
    (aiohttp.InvalidURL, ADDRESS_NOT_ALLOWED),
    (TimeoutError, TIMED_OUT),
    (aiohttp.ClientConnectorCertificateError, CERTIFICATE_INVALID),
    (aiohttp.ClientSSLError, TLS_FAILED),
    (aiohttp.ClientConnectorDNSError, DNS_FAILED),
    (aiohttp.ClientConnectorError, UNREACHABLE),
    (aiohttp.ClientOSError, CONNECTION_LOST),
    (aiohttp.ServerDisconnectedError, CONNECTION_LOST),
)


def judge_fault(fault: aiohttp.ClientError) -> Verdict:
    """Of what kept us from an answer."""
    if isinstance(fault, aiohttp.ClientConnectorError):
        if isinstance(fault.os_error, AddressRefused):
            return ADDRESS_NOT_ALLOWED
        if isinstance(fault.os_error, NoSuchName):
            return NO_SUCH_NAME
    return next((verdict for kind, verdict in _FAULTS if isinstance(fault, kind)), MALFORMED_ANSWER)
