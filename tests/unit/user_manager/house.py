"""A user manager on a store in memory; time and ids are the test's."""

from collections.abc import Collection
from datetime import datetime, timedelta

from pkg.object_model.errors import Unauthenticated
from pkg.object_model.types import (
    AuditEvent,
    DirectoryEntry,
    PageRequest,
    ProviderProfile,
    RegisterRequest,
    Session,
    User,
)
from pkg.user_manager.deletions import AccountDeletions
from pkg.user_manager.manager import UserManager
from pkg.user_manager.memory_deletion_store import MemoryDeletionStore
from pkg.user_manager.memory_store import MemoryUserStore
from pkg.user_manager.providers import IdentityProvider
from pkg.user_manager.store import KnownToken
from tests.fakes import FakeClock, SequentialIds


class CountingStore(MemoryUserStore):
    """``asked`` counts the look-ups of many and of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def find_users(self, keys: Collection[str]) -> dict[str, DirectoryEntry]:
        self.asked += 1
        return await super().find_users(keys)

    async def find_names(self, user_ids: Collection[int]) -> dict[int, str]:
        self.asked += 1
        return await super().find_names(user_ids)

    async def find_identity(self, token_hash: bytes, now: datetime) -> KnownToken | None:
        self.asked += 1
        return await super().find_identity(token_hash, now)


class House:
    def __init__(self, provider: IdentityProvider | None = None, grace: timedelta = timedelta(0)) -> None:
        self.clock = FakeClock()
        self.store = CountingStore()
        #: Of whose sessions and tokens it was told that some have ended.
        self.revoked: list[int] = []
        ids = SequentialIds()
        self.deletions = MemoryDeletionStore(self.store)
        self.users = UserManager(
            self.store,
            self.clock,
            ids,
            provider=provider,
            deletions=AccountDeletions(self.deletions, self.clock, ids, grace=grace),
            on_revoked=self._on_revoked,
        )

    async def _on_revoked(self, user_id: int) -> None:
        self.revoked.append(user_id)

    async def register(self, name: str, **more: str) -> User:
        return await self.users.register(None, RegisterRequest(name=name, **more))

    async def log_in(self, user: User) -> Session:
        return await self.users.login(user.name, await self.ticket(user.name), "a browser")

    async def ticket(self, name: str) -> str:
        return (await self.users.issue_ticket(name)).ticket

    async def is_known(self, token: str) -> bool:
        try:
            await self.users.authenticate(token)
        except Unauthenticated as error:
            return error.code != "invalid_token"
        return True

    async def events(self, user: User) -> list[AuditEvent]:
        return (await self.users.get_audit_events(user.ref, PageRequest(limit=200))).events


def github(login: str, *, subject: str = "583231", display_name: str = "", email: str = "") -> ProviderProfile:
    return ProviderProfile(provider="github", subject=subject, login=login, display_name=display_name, email=email)
