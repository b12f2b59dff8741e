"""What the user service does not see itself, and the owner of the account is to find in its log."""

import asyncio
from typing import Final

from pkg.object_model.errors import DelinkciousError
from pkg.object_model.interfaces import UserManager
from pkg.object_model.types import Actor, AuditEventType
from pkg.runtime.logs import get_logger

#: Seconds. What was done is done, and its caller waits.
_PATIENCE: Final = 1.0

_log = get_logger(__name__)


class AuditTrail:
    def __init__(self, users: UserManager) -> None:
        self._users = users

    async def note(self, actor: Actor, event_type: AuditEventType, detail: str) -> None:
        """Raises nothing: what happened must not look as if it had not because it cannot be written down."""
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._users.record_audit_event(actor, event_type, detail)
        except (DelinkciousError, TimeoutError):
            _log.warning("an event is missing in the log of an account", type=event_type, user_id=actor.user_id)
