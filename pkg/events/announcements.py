"""What is told to whoever listens now, and kept for nobody: over NATS itself, without a stream.

It is for what loses its worth within seconds, and for listeners who get on without it: one who was away has missed it.
"""

from collections.abc import Callable
from typing import Final, Protocol

from pkg.object_model.errors import InvalidArgument
from pkg.runtime.json import decode, encode

#: Sessions or tokens of a user have ended: whoever remembers whom they stood for forgets.
TOKEN_REVOCATIONS: Final = "token-revocations"  # noqa: S105  # a subject, not a token


class Announcer(Protocol):
    async def announce(self, subject: str, body: bytes) -> None:
        """
        Raises:
            Unavailable: the bus is away, and nobody hears of it.
        """


class Announcements(Protocol):
    async def listen(self, subject: str, heard: Callable[[bytes], None], missed: Callable[[], None]) -> None:
        """Has ``heard`` called with each body, from now on and as long as the bus is open.

        ``missed`` is called whenever something may have been told while nobody listened: as soon as we do for the first
        time, and after each time that the bus was away.
        """


def write_revocation(user_id: int) -> bytes:
    return encode({"UserId": str(user_id)})


def read_revocation(body: bytes) -> int:
    """Whose sessions or tokens have ended.

    Raises:
        InvalidArgument: it is no announcement of ours (``malformed_announcement``).
    """
    try:
        return int(decode(body)["UserId"])
    except (InvalidArgument, LookupError, TypeError, ValueError):
        raise InvalidArgument("this is no revocation of ours", code="malformed_announcement") from None
