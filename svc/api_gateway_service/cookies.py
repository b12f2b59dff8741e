"""The two cookies that we set: a session's, and that of a login on its way.

Behind TLS their names begin with ``__Host-``: no other host of the domain, and no page without TLS, can set or see them
(https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis#section-4.1.3.2). ``Lax``, because a browser that
comes from a provider, or by a link from elsewhere, is to be logged in.
"""

from collections.abc import Mapping
from typing import Final

SESSION: Final = "delinkcious"
LOGIN_ATTEMPT: Final = "delinkcious-login"

_HOST_PREFIX: Final = "__Host-"
_ATTRIBUTES: Final = "; Path=/; HttpOnly; SameSite=Lax"


class Cookies:
    def __init__(self, *, secure: bool) -> None:
        """``secure``: the public side is behind TLS."""
        prefix, self._attributes = (_HOST_PREFIX, _ATTRIBUTES + "; Secure") if secure else ("", _ATTRIBUTES)
        self._names: Mapping[str, str] = {name: prefix + name for name in (SESSION, LOGIN_ATTEMPT)}

    def name(self, name: str) -> str:
        """As browsers see it."""
        return self._names[name]

    def read(self, header: str, name: str) -> str:
        """The value, as the ``Cookie`` header has it; empty if it is not there."""
        wanted = self._names[name] + "="
        for pair in header.split(";"):
            cookie = pair.strip()
            if cookie.startswith(wanted):
                return cookie[len(wanted) :]
        return ""

    def keep(self, name: str, value: str, seconds: int) -> str:
        """A ``Set-Cookie`` header. ``value`` is of characters that need no quoting."""
        return f"{self._names[name]}={value}; Max-Age={seconds}{self._attributes}"

    def drop(self, name: str) -> str:
        return self.keep(name, "", 0)
