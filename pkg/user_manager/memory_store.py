"""Users in the memory of one process. Nothing here waits, so each method is one step for everybody else."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from pkg.object_model.types import Actor, DirectoryEntry, Identity, TokenInfo, TokenKind, User
from pkg.user_manager.providers import ProviderIdentity
from pkg.user_manager.store import Account, StoredToken, UserStore, identity_taken, name_taken


@dataclass(slots=True)
class _Entry:
    user: User
    identity: ProviderIdentity
    #: By hash.
    tokens: dict[bytes, StoredToken] = field(default_factory=dict)
    #: Hash -> when it expires, the oldest first.
    tickets: dict[bytes, datetime] = field(default_factory=dict)


class MemoryUserStore(UserStore):
    def __init__(self) -> None:
        self._by_id: dict[int, _Entry] = {}
        self._by_key: dict[str, _Entry] = {}
        self._by_token: dict[bytes, _Entry] = {}
        self._identities: set[ProviderIdentity] = set()

    async def add_user(self, user: User, key: str, identity: ProviderIdentity) -> None:
        if key in self._by_key:
            raise name_taken(user.name)
        if identity in self._identities:
            raise identity_taken(identity.provider)
        self._identities.add(identity)
        self._by_id[user.id] = self._by_key[key] = _Entry(user, identity)

    async def find_user(self, key: str) -> User | None:
        entry = self._by_key.get(key)
        return entry.user if entry else None

    async def find_account(self, key: str) -> Account | None:
        entry = self._by_key.get(key)
        return Account(entry.user.ref, entry.identity) if entry else None

    async def find_users(self, keys: Collection[str]) -> dict[str, DirectoryEntry]:
        return {key: self._by_key[key].user.entry for key in keys if key in self._by_key}

    async def find_names(self, user_ids: Collection[int]) -> dict[int, str]:
        return {user_id: self._by_id[user_id].user.name for user_id in user_ids if user_id in self._by_id}

    async def add_ticket(
        self, user_id: int, ticket_hash: bytes, now: datetime, expires_at: datetime, *, at_most: int
    ) -> bool:
        entry = self._by_id.get(user_id)
        if entry is None:
            return False
        alive = [(known, expiry) for known, expiry in entry.tickets.items() if expiry > now]
        alive.append((ticket_hash, expires_at))
        entry.tickets = dict(alive[-at_most:])
        return True

    async def redeem_ticket(
        self, key: str, ticket_hash: bytes, session: StoredToken, now: datetime, *, at_most: int
    ) -> Actor | None:
        entry = self._by_key.get(key)
        if entry is None or ticket_hash not in entry.tickets or entry.tickets[ticket_hash] <= now:
            return None
        del entry.tickets[ticket_hash]
        await self.add_token(entry.user.id, session, now, at_most=at_most)
        return entry.user.ref

    async def add_token(self, user_id: int, token: StoredToken, now: datetime, *, at_most: int) -> None:
        entry = self._by_id[user_id]
        alike = sorted(
            (known for known in entry.tokens.values() if known.kind is token.kind), key=lambda known: known.id
        )
        alive = [known for known in alike if known.expires_at > now]
        kept = alive[max(0, len(alive) - at_most + 1) :]
        for known in alike:
            if known not in kept:
                del entry.tokens[known.token_hash], self._by_token[known.token_hash]
        entry.tokens[token.token_hash] = token
        self._by_token[token.token_hash] = entry

    async def find_identity(self, token_hash: bytes, now: datetime) -> Identity | None:
        entry = self._by_token.get(token_hash)
        if entry is None or (token := entry.tokens[token_hash]).expires_at <= now:
            return None
        shown = TokenInfo(name=token.name, kind=token.kind, scopes=token.scopes, expires_at=token.expires_at)
        return Identity(actor=entry.user.ref, token=shown)

    async def end_session(self, key: str, token_hash: bytes) -> None:
        entry = self._by_token.get(token_hash)
        if entry is None or entry is not self._by_key.get(key):
            return
        if entry.tokens[token_hash].kind is TokenKind.SESSION:
            del entry.tokens[token_hash], self._by_token[token_hash]
