"""When sessions and tokens were last used: noted where they are looked up, written down later, many at once.

A session slides by it: it ends when it was not used for a while. To write at each use would make of every read a write.
"""

from datetime import datetime, timedelta
from typing import Final

from pkg.object_model.errors import DelinkciousError
from pkg.user_manager.store import KnownToken, TokenKey, UserStore

#: What is written down is as exact as this.
RESOLUTION: Final = timedelta(hours=1)
#: That wait to be written down. What finds no room is noted at its next use.
MAX_NOTED: Final = 10_000


class TokenUses:
    def __init__(self, store: UserStore, *, max_noted: int = MAX_NOTED) -> None:
        self._store = store
        self._max_noted = max_noted
        self._noted: dict[TokenKey, datetime] = {}

    def note(self, token: KnownToken, now: datetime) -> None:
        if token.last_used_at is not None and now - token.last_used_at < RESOLUTION:
            return
        key = TokenKey(token.identity.actor.user_id, token.identity.token.id)
        if key in self._noted or len(self._noted) < self._max_noted:
            self._noted[key] = now

    async def write(self) -> int:
        """How many were written down. What cannot be written stays noted.

        Raises:
            Unavailable: the store cannot be reached.
        """
        noted, self._noted = self._noted, {}
        if not noted:
            return 0
        try:
            await self._store.record_uses(noted)
        except DelinkciousError:
            self._noted = dict(list((noted | self._noted).items())[: self._max_noted])
            raise
        return len(noted)
