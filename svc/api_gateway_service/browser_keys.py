"""What a browser keeps for us, sealed: nobody can read it, change it, or make one of their own.

There are one or two keys: the first seals, either opens, so that a new one can be put in front of the old one without
anybody's login failing.
"""

import base64
import hmac
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from pkg.identity_providers.provider import LoginAttempt
from pkg.runtime.json import decode, encode

#: Seconds that somebody may take at the provider.
ATTEMPT_LIFETIME: Final = 600


class BrowserKeys:
    def __init__(self, values: Callable[[], Sequence[str]]) -> None:
        """``values`` are the secrets as they are now, at least one."""
        self._values = values

    def seal_attempt(self, attempt: LoginAttempt) -> str:
        return self._fernet().encrypt(encode(asdict(attempt))).decode()

    def open_attempt(self, sealed: str) -> LoginAttempt | None:
        """None for what is not ours, or too old."""
        try:
            return LoginAttempt(**decode(self._fernet().decrypt(sealed.encode(), ttl=ATTEMPT_LIFETIME)))
        except (InvalidToken, TypeError):
            # The latter if another version of us sealed it, whose attempts have other fields.
            return None

    def csrf_token(self, session: str) -> str:
        """What forms and programs in a page of ours show beside the cookie of this session."""
        return self._csrf_tokens(session)[0]

    def is_csrf_token(self, session: str, given: str) -> bool:
        return given.isascii() and any(hmac.compare_digest(token, given) for token in self._csrf_tokens(session))

    def _fernet(self) -> MultiFernet:
        return MultiFernet([Fernet(base64.urlsafe_b64encode(self._derive(key, "login"))) for key in self._values()])

    def _csrf_tokens(self, session: str) -> list[str]:
        macs = [hmac.digest(self._derive(key, "csrf"), session.encode(), "sha256") for key in self._values()]
        return [base64.urlsafe_b64encode(mac).decode().rstrip("=") for mac in macs]

    @staticmethod
    def _derive(key: str, purpose: str) -> bytes:
        """A key for each purpose, so that what is made for one is good for no other."""
        return hmac.digest(key.encode(), purpose.encode(), "sha256")
