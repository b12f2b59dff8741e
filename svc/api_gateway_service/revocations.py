"""Hears that sessions or tokens of somebody have ended, and forgets whom they stood for."""

from typing import Final, Protocol

from prometheus_client import Counter

from pkg.events.announcements import TOKEN_REVOCATIONS, Announcements, read_revocation
from pkg.object_model.errors import InvalidArgument
from pkg.runtime.logs import get_logger

HEARD: Final = Counter(
    "delinkcious_token_revocations_heard_total",
    "Announcements that sessions or tokens of a user have ended, by what came of them: forgotten, or unreadable.",
    ("outcome",),
)

_log = get_logger(__name__)


class Forgetful(Protocol):
    """Remembers whom tokens stand for."""

    def forget(self, user_id: int) -> None:
        """Has it asked again about every token of this user."""

    def forget_all(self) -> None: ...


async def hear_revocations(announcements: Announcements, *holders: Forgetful) -> None:
    """From now on, each in turn. Whatever may have been missed, all is forgotten."""
    forgotten, unreadable = (HEARD.labels(outcome) for outcome in ("forgotten", "unreadable"))

    def forget(body: bytes) -> None:
        try:
            user_id = read_revocation(body)
            for holder in holders:
                holder.forget(user_id)
            forgotten.inc()
        except InvalidArgument as fault:
            unreadable.inc()
            _log.warning("an announcement cannot be read", reason=fault.message)

    def forget_all() -> None:
        for holder in holders:
            holder.forget_all()

    await announcements.listen(TOKEN_REVOCATIONS, forget, forget_all)
