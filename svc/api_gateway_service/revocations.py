"""Hears that sessions or tokens of somebody have ended, and forgets whom they stood for."""

from typing import Final

from prometheus_client import Counter

from pkg.events.announcements import TOKEN_REVOCATIONS, Announcements, read_revocation
from pkg.object_model.errors import InvalidArgument
from pkg.runtime.logs import get_logger
from svc.api_gateway_service.tokens import TokenVerdicts

HEARD: Final = Counter(
    "delinkcious_token_revocations_heard_total",
    "Announcements that sessions or tokens of a user have ended, by what came of them: forgotten, or unreadable.",
    ("outcome",),
)

_log = get_logger(__name__)


async def hear_revocations(announcements: Announcements, verdicts: TokenVerdicts) -> None:
    """From now on. Whatever may have been missed, all verdicts are forgotten."""
    forgotten, unreadable = (HEARD.labels(outcome) for outcome in ("forgotten", "unreadable"))

    def forget(body: bytes) -> None:
        try:
            verdicts.forget(read_revocation(body))
            forgotten.inc()
        except InvalidArgument as fault:
            unreadable.inc()
            _log.warning("an announcement cannot be read", reason=fault.message)

    await announcements.listen(TOKEN_REVOCATIONS, forget, verdicts.forget_all)
