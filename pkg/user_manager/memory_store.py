"""Users in the memory of one process. Nothing here waits, so each method is one step for everybody else."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from pkg.object_model.types import (
    Actor,
    AuditEvent,
    DirectoryEntry,
    Identity,
    TokenKind,
    TokenRecord,
    UpdateUserRequest,
    User,
)
from pkg.user_manager.names import hash_name
from pkg.user_manager.providers import ProviderIdentity
from pkg.user_manager.store import (
    Account,
    KnownToken,
    Owner,
    StoredToken,
    Tell,
    TokenKey,
    UserState,
    UserStore,
    describe,
    identity_taken,
    is_alive,
    name_taken,
    token_limit_reached,
    token_name_taken,
)


@dataclass(slots=True)
class _Entry:
    user: User
    identity: ProviderIdentity
    state: UserState = UserState.ACTIVE
    #: By hash, the oldest first.
    tokens: dict[bytes, StoredToken] = field(default_factory=dict)
    #: Hash -> when it expires, the oldest first.
    tickets: dict[bytes, datetime] = field(default_factory=dict)
    #: The oldest first.
    events: list[AuditEvent] = field(default_factory=list)


class MemoryUserStore(UserStore):
    def __init__(self) -> None:
        self._by_id: dict[int, _Entry] = {}
        self._by_key: dict[str, _Entry] = {}
        self._by_token: dict[bytes, _Entry] = {}
        self._by_identity: dict[ProviderIdentity, _Entry] = {}
        self._retired: set[bytes] = set()

    async def add_user(self, user: User, key: str, identity: ProviderIdentity) -> None:
        if key in self._by_key or hash_name(key) in self._retired:
            raise name_taken(user.name)
        if identity in self._by_identity:
            raise identity_taken(identity.provider)
        entry = _Entry(user, identity)
        self._by_id[user.id] = self._by_key[key] = self._by_identity[identity] = entry

    async def find_user(self, key: str) -> User | None:
        entry = self._named(key)
        return entry.user if entry else None

    async def find_account(self, key: str) -> Account | None:
        entry = self._named(key)
        return Account(entry.user.ref, entry.identity) if entry else None

    async def find_owner(self, identity: ProviderIdentity) -> Owner | None:
        entry = self._by_identity.get(identity)
        return Owner(entry.user.ref, entry.state) if entry else None

    async def find_users(self, keys: Collection[str]) -> dict[str, DirectoryEntry]:
        return {key: entry.user.entry for key in keys if (entry := self._named(key))}

    async def find_names(self, user_ids: Collection[int]) -> dict[int, str]:
        return {user_id: self._by_id[user_id].user.name for user_id in user_ids if user_id in self._by_id}

    async def update_user(self, user_id: int, changes: UpdateUserRequest, event: AuditEvent) -> User | None:
        entry = self._active(user_id)
        if entry is None:
            return None
        entry.user = replace(entry.user, **changes.model_dump(exclude_none=True))
        entry.events.append(event)
        return entry.user

    # --- sessions and API tokens --------------------------------------------------------------------------------------

    async def add_ticket(
        self,
        user_id: int,
        ticket_hash: bytes,
        now: datetime,
        expires_at: datetime,
        *,
        at_most: int,
        event: AuditEvent | None = None,
    ) -> Actor | None:
        entry = self._active(user_id)
        if entry is None:
            return None
        alive = [(known, expiry) for known, expiry in entry.tickets.items() if expiry > now]
        alive.append((ticket_hash, expires_at))
        entry.tickets = dict(alive[-at_most:])
        if event is not None:
            entry.events.append(event)
        return entry.user.ref

    async def redeem_ticket(
        self, key: str, ticket_hash: bytes, session: StoredToken, now: datetime, *, at_most: int, event: AuditEvent
    ) -> Actor | None:
        entry = self._named(key)
        if entry is None or ticket_hash not in entry.tickets or entry.tickets[ticket_hash] <= now:
            return None
        del entry.tickets[ticket_hash]
        await self.add_session(entry.user.id, session, now, at_most=at_most, event=event)
        return entry.user.ref

    async def add_session(
        self, user_id: int, session: StoredToken, now: datetime, *, at_most: int, event: AuditEvent
    ) -> bool:
        entry = self._active(user_id)
        if entry is None:
            return False
        alive = self._remove_over(entry, TokenKind.SESSION, now)
        for token in alive[: max(0, len(alive) - at_most + 1)]:
            self._remove(entry, token)
        self._add(entry, session, event)
        return True

    async def add_api_token(
        self, user_id: int, token: StoredToken, now: datetime, *, at_most: int, event: AuditEvent
    ) -> bool:
        entry = self._active(user_id)
        if entry is None:
            return False
        alive = self._remove_over(entry, TokenKind.API_TOKEN, now)
        if any(known.record.name == token.record.name for known in alive):
            raise token_name_taken()
        if len(alive) >= at_most:
            raise token_limit_reached(at_most)
        self._add(entry, token, event)
        return True

    async def find_identity(self, token_hash: bytes, now: datetime) -> KnownToken | None:
        entry = self._by_token.get(token_hash)
        if entry is None or entry.state is not UserState.ACTIVE:
            return None
        record = entry.tokens[token_hash].record
        if not is_alive(record, now):
            return None
        return KnownToken(Identity(actor=entry.user.ref, token=describe(record)), record.last_used_at)

    async def list_tokens(self, user_id: int, kind: TokenKind, now: datetime) -> Sequence[TokenRecord]:
        entry = self._active(user_id)
        records = [token.record for token in _alike(entry, kind)] if entry else []
        return [record for record in reversed(records) if is_alive(record, now)]

    async def log_out(self, key: str, token_hash: bytes, event: AuditEvent) -> int | None:
        entry = self._by_token.get(token_hash)
        if entry is None or entry is not self._by_key.get(key):
            return None
        session = entry.tokens[token_hash]
        if session.record.kind is not TokenKind.SESSION:
            return None
        self._remove(entry, session)
        entry.events.append(event)
        return entry.user.id

    async def remove_token(self, user_id: int, kind: TokenKind, token_id: int, tell: Tell) -> bool:
        entry = self._by_id.get(user_id)
        for token in _alike(entry, kind) if entry else []:
            if token.record.id == token_id:
                assert entry is not None  # noqa: S101  # or there were no tokens
                self._remove(entry, token)
                entry.events.append(tell(token.record.name or token.record.client))
                return True
        return False

    async def remove_sessions(self, user_id: int, except_id: int | None, tell: Tell) -> int:
        entry = self._by_id.get(user_id)
        if entry is None:
            return 0
        removed = [token for token in _alike(entry, TokenKind.SESSION) if token.record.id != except_id]
        for token in removed:
            self._remove(entry, token)
        if removed:
            entry.events.append(tell(str(len(removed))))
        return len(removed)

    async def record_uses(self, uses: Mapping[TokenKey, datetime]) -> None:
        for key, used_at in uses.items():
            entry = self._by_id.get(key.user_id)
            for token in list(entry.tokens.values()) if entry else []:
                known = token.record.last_used_at
                if entry and token.record.id == key.token_id and (known is None or known < used_at):
                    record = replace(token.record, last_used_at=used_at)
                    entry.tokens[token.token_hash] = replace(token, record=record)

    # --- the audit log ------------------------------------------------------------------------------------------------

    async def add_event(self, user_id: int, event: AuditEvent) -> bool:
        entry = self._active(user_id)
        if entry is None:
            return False
        entry.events.append(event)
        return True

    async def list_events(self, user_id: int, before_id: int | None, limit: int) -> Sequence[AuditEvent]:
        entry = self._active(user_id)
        events = sorted(entry.events, key=lambda event: event.id, reverse=True) if entry else []
        return [event for event in events if before_id is None or event.id < before_id][:limit]

    # --- what is over -------------------------------------------------------------------------------------------------

    async def remove_expired(self, now: datetime, limit: int) -> int:
        tickets = [
            (entry, ticket)
            for entry in self._by_id.values()
            for ticket, expiry in entry.tickets.items()
            if expiry <= now
        ]
        tokens = [
            (entry, token)
            for entry in self._by_id.values()
            for token in entry.tokens.values()
            if token.record.expires_at <= now
        ]
        for entry, ticket in tickets[:limit]:
            del entry.tickets[ticket]
        for entry, token in tokens[:limit]:
            self._remove(entry, token)
        return min(len(tickets), limit) + min(len(tokens), limit)

    async def remove_events(self, before: datetime, limit: int) -> int:
        old = [(entry, event) for entry in self._by_id.values() for event in entry.events if event.timestamp < before]
        for entry, event in old[:limit]:
            entry.events.remove(event)
        return min(len(old), limit)

    # --- accounts that end --------------------------------------------------------------------------------------------

    def close(self, user_id: int, event: AuditEvent) -> bool:
        """Whether there is such a user. Sessions, tokens and tickets are over."""
        entry = self._by_id.get(user_id)
        if entry is None:
            return False
        entry.state = UserState.DELETING
        for token in list(entry.tokens.values()):
            self._remove(entry, token)
        entry.tickets.clear()
        entry.events.append(event)
        return True

    def reopen(self, user_id: int, event: AuditEvent) -> None:
        entry = self._by_id[user_id]
        entry.state = UserState.ACTIVE
        entry.events.append(event)

    def forget(self, user_id: int) -> None:
        """All of it, but that there was the name."""
        entry = self._by_id.pop(user_id, None)
        if entry is not None:
            key = entry.user.name.casefold()
            del self._by_key[key], self._by_identity[entry.identity]
            self._retired.add(hash_name(key))

    # --- entries ------------------------------------------------------------------------------------------------------

    def _named(self, key: str) -> _Entry | None:
        entry = self._by_key.get(key)
        return entry if entry and entry.state is UserState.ACTIVE else None

    def _active(self, user_id: int) -> _Entry | None:
        entry = self._by_id.get(user_id)
        return entry if entry and entry.state is UserState.ACTIVE else None

    def _add(self, entry: _Entry, token: StoredToken, event: AuditEvent) -> None:
        entry.tokens[token.token_hash] = token
        self._by_token[token.token_hash] = entry
        entry.events.append(event)

    def _remove(self, entry: _Entry, token: StoredToken) -> None:
        del entry.tokens[token.token_hash], self._by_token[token.token_hash]

    def _remove_over(self, entry: _Entry, kind: TokenKind, now: datetime) -> list[StoredToken]:
        """Those that stay, the oldest first."""
        alike = _alike(entry, kind)
        for token in alike:
            if not is_alive(token.record, now):
                self._remove(entry, token)
        return [token for token in alike if token.token_hash in entry.tokens]


def _alike(entry: _Entry, kind: TokenKind) -> list[StoredToken]:
    """The oldest first."""
    return sorted(
        (token for token in entry.tokens.values() if token.record.kind is kind), key=lambda token: token.record.id
    )
