"""Users in Postgres.

Whatever adds to a user's tokens or tickets, or ends many of them, locks the user's row first, so that limits are exact,
a ticket is used once, and no two such transactions can wait for each other.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final

import asyncpg

from pkg.object_model.errors import Unavailable
from pkg.object_model.types import (
    Actor,
    AuditEvent,
    DirectoryEntry,
    Identity,
    TokenInfo,
    TokenKind,
    TokenRecord,
    UpdateUserRequest,
    User,
    granted_scopes,
)
from pkg.runtime.postgres import database_errors
from pkg.user_manager.names import hash_name
from pkg.user_manager.providers import ProviderIdentity
from pkg.user_manager.store import (
    SESSION_IDLE_LIFETIME,
    Account,
    KnownToken,
    Owner,
    StoredToken,
    Tell,
    TokenKey,
    UserState,
    UserStore,
    identity_taken,
    name_taken,
    token_limit_reached,
    token_name_taken,
)

_ADD_USER: Final = """
    INSERT INTO users (id, name, name_key, display_name, email, private, created_at, provider, subject)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT DO NOTHING
    RETURNING id
"""
_IS_RETIRED: Final = "SELECT true FROM retired_names WHERE name_hash = $1"
_WHAT_IS_TAKEN: Final = """
    SELECT bool_or(name_key = $1) AS name, bool_or(id = $2) AS id
    FROM users WHERE name_key = $1 OR id = $2 OR (provider = $3 AND subject = $4)
"""
_USER: Final = "id, name, display_name, email, private, created_at"
_FIND_USER: Final = f"SELECT {_USER} FROM users WHERE name_key = $1 AND state = 'active'"
_FIND_ACCOUNT: Final = "SELECT id, name, provider, subject FROM users WHERE name_key = $1 AND state = 'active'"
_FIND_OWNER: Final = "SELECT id, name, state FROM users WHERE provider = $1 AND subject = $2"
_FIND_USERS: Final = """
    SELECT name_key, id, name, private FROM users WHERE name_key = ANY($1::text[]) AND state = 'active'
"""
_FIND_NAMES: Final = "SELECT id, name FROM users WHERE id = ANY($1::bigint[])"
_UPDATE_USER: Final = f"""
    UPDATE users
    SET display_name = coalesce($2, display_name), email = coalesce($3, email), private = coalesce($4, private)
    WHERE id = $1 AND state = 'active'
    RETURNING {_USER}
"""

_LOCK_USER: Final = "SELECT name FROM users WHERE id = $1 AND state = 'active' FOR NO KEY UPDATE"
_LOCK_USER_OF_TICKET: Final = """
    SELECT users.id, users.name
    FROM tickets JOIN users ON users.id = tickets.user_id
    WHERE tickets.ticket_hash = $1 AND tickets.expires_at > $2 AND users.name_key = $3 AND users.state = 'active'
    FOR NO KEY UPDATE OF users
"""
_ADD_TICKET: Final = "INSERT INTO tickets (user_id, ticket_hash, expires_at) VALUES ($1, $2, $3)"
_PRUNE_TICKETS: Final = """
    DELETE FROM tickets
    WHERE user_id = $1 AND ticket_hash NOT IN (
        SELECT ticket_hash FROM tickets WHERE user_id = $1 AND expires_at > $2 ORDER BY expires_at DESC LIMIT $3
    )
"""
_USE_TICKET: Final = "DELETE FROM tickets WHERE user_id = $1 AND ticket_hash = $2 RETURNING true"


def _alive(now: str) -> str:
    """What ``is_alive`` says, of a row of ``tokens``."""
    idle = f"interval '{SESSION_IDLE_LIFETIME.total_seconds():.0f} seconds'"
    used_at = "coalesce(tokens.last_used_at, tokens.created_at)"
    return f"tokens.expires_at > {now} AND (tokens.kind <> 'session' OR {used_at} > {now}::timestamptz - {idle})"


_INSERT_INTO_TOKENS: Final = """
    INSERT INTO tokens (user_id, id, token_hash, kind, name, scopes, client, created_at, expires_at, last_used_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""
_PRUNE_TOKENS: Final = f"""
    DELETE FROM tokens
    WHERE user_id = $1 AND kind = $2 AND id NOT IN (
        SELECT id FROM tokens WHERE user_id = $1 AND kind = $2 AND {_alive("$3")} ORDER BY id DESC LIMIT $4
    )
"""
_NAMES_OF_TOKENS: Final = "SELECT name FROM tokens WHERE user_id = $1 AND kind = 'api_token'"
_FIND_IDENTITY: Final = f"""
    SELECT users.id AS user_id, users.name AS user_name,
        tokens.id, tokens.name, tokens.kind, tokens.scopes, tokens.expires_at, tokens.last_used_at
    FROM tokens JOIN users ON users.id = tokens.user_id
    WHERE tokens.token_hash = $1 AND users.state = 'active' AND {_alive("$2")}
"""
_LIST_TOKENS: Final = f"""
    SELECT tokens.id, tokens.kind, tokens.name, tokens.scopes, tokens.client,
        tokens.created_at, tokens.expires_at, tokens.last_used_at
    FROM tokens JOIN users ON users.id = tokens.user_id
    WHERE tokens.user_id = $1 AND tokens.kind = $2 AND users.state = 'active' AND {_alive("$3")}
    ORDER BY tokens.id DESC
"""
_LOG_OUT: Final = """
    DELETE FROM tokens USING users
    WHERE tokens.token_hash = $1 AND tokens.kind = 'session' AND users.id = tokens.user_id AND users.name_key = $2
    RETURNING tokens.user_id
"""
_REMOVE_ONE: Final = """
    DELETE FROM tokens WHERE user_id = $1 AND kind = $2 AND id = $3 RETURNING coalesce(nullif(name, ''), client)
"""
_REMOVE_SESSIONS: Final = """
    DELETE FROM tokens WHERE user_id = $1 AND kind = 'session' AND id IS DISTINCT FROM $2 RETURNING id
"""
# A row that somebody else has locked is about to go, or to get a time as good as ours. Nobody waits.
_RECORD_USES: Final = """
    WITH used AS MATERIALIZED (
        SELECT tokens.user_id, tokens.id, seen.used_at
        FROM unnest($1::bigint[], $2::bigint[], $3::timestamptz[]) AS seen (user_id, id, used_at)
        JOIN tokens USING (user_id, id)
        WHERE tokens.last_used_at IS NULL OR tokens.last_used_at < seen.used_at
        FOR NO KEY UPDATE OF tokens SKIP LOCKED
    )
    UPDATE tokens SET last_used_at = used.used_at
    FROM used WHERE tokens.user_id = used.user_id AND tokens.id = used.id
"""

_ADD_EVENT: Final = """
    INSERT INTO audit_events (user_id, id, type, happened_at, detail, client, address)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
_LIST_EVENTS: Final = """
    SELECT audit_events.id, type, happened_at AS timestamp, detail, client, address
    FROM audit_events JOIN users ON users.id = user_id
    WHERE user_id = $1 AND audit_events.id < $2 AND users.state = 'active'
    ORDER BY audit_events.id DESC LIMIT $3
"""
_AFTER_ALL: Final = 2**63 - 1

# Whoever else sweeps takes others.
_SWEEP_TICKETS: Final = """
    DELETE FROM tickets WHERE (user_id, ticket_hash) IN (
        SELECT user_id, ticket_hash FROM tickets WHERE expires_at <= $1
        ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
    )
    RETURNING true
"""
_SWEEP_TOKENS: Final = """
    DELETE FROM tokens WHERE (user_id, id) IN (
        SELECT user_id, id FROM tokens WHERE expires_at <= $1
        ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
    )
    RETURNING true
"""
_SWEEP_EVENTS: Final = """
    DELETE FROM audit_events WHERE (user_id, id) IN (
        SELECT user_id, id FROM audit_events WHERE happened_at < $1
        ORDER BY happened_at LIMIT $2 FOR UPDATE SKIP LOCKED
    )
    RETURNING true
"""

type _Connection = asyncpg.pool.PoolConnectionProxy


class SqlUserStore(UserStore):
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def add_user(self, user: User, key: str, identity: ProviderIdentity) -> None:
        with database_errors():
            async with self._pool.acquire() as connection:
                try:
                    added = await _add_user(connection, user, key, identity)
                except _RetiredName:
                    raise name_taken(user.name) from None
                if added:
                    return
                taken = await connection.fetchrow(_WHAT_IS_TAKEN, key, user.id, identity.provider, identity.subject)
        match taken and taken["name"], taken and taken["id"]:
            case True, _:
                raise name_taken(user.name)
            case False, False:
                raise identity_taken(identity.provider)
            case _:
                # Or what was taken is free by now.
                raise _id_taken()

    async def find_user(self, key: str) -> User | None:
        with database_errors():
            row = await self._pool.fetchrow(_FIND_USER, key)
        return User(**row) if row else None

    async def find_account(self, key: str) -> Account | None:
        with database_errors():
            row = await self._pool.fetchrow(_FIND_ACCOUNT, key)
        if row is None:
            return None
        return Account(Actor(row["id"], row["name"]), ProviderIdentity(row["provider"], row["subject"]))

    async def find_owner(self, identity: ProviderIdentity) -> Owner | None:
        with database_errors():
            row = await self._pool.fetchrow(_FIND_OWNER, identity.provider, identity.subject)
        return Owner(Actor(row["id"], row["name"]), UserState(row["state"])) if row else None

    async def find_users(self, keys: Collection[str]) -> dict[str, DirectoryEntry]:
        with database_errors():
            rows = await self._pool.fetch(_FIND_USERS, list(keys))
        return {key: DirectoryEntry(user_id, name, private) for key, user_id, name, private in rows}

    async def find_names(self, user_ids: Collection[int]) -> dict[int, str]:
        with database_errors():
            rows = await self._pool.fetch(_FIND_NAMES, list(user_ids))
        return dict(map(tuple, rows))

    async def update_user(self, user_id: int, changes: UpdateUserRequest, event: AuditEvent) -> User | None:
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                row = await connection.fetchrow(
                    _UPDATE_USER, user_id, changes.display_name, changes.email, changes.private
                )
                if row is None:
                    return None
                await insert_audit_event(connection, user_id, event)
                return User(**row)

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
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                name = await connection.fetchval(_LOCK_USER, user_id)
                if name is None:
                    return None
                await connection.execute(_PRUNE_TICKETS, user_id, now, at_most - 1)
                await connection.execute(_ADD_TICKET, user_id, ticket_hash, expires_at)
                if event is not None:
                    await insert_audit_event(connection, user_id, event)
                return Actor(user_id, name)

    async def redeem_ticket(
        self, key: str, ticket_hash: bytes, session: StoredToken, now: datetime, *, at_most: int, event: AuditEvent
    ) -> Actor | None:
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                row = await connection.fetchrow(_LOCK_USER_OF_TICKET, ticket_hash, now, key)
                # Somebody else may have used it while we waited for the lock.
                if row is None or not await connection.fetchval(_USE_TICKET, row["id"], ticket_hash):
                    return None
                await _add_session(connection, row["id"], session, now, at_most, event)
                return Actor(row["id"], row["name"])

    async def add_session(
        self, user_id: int, session: StoredToken, now: datetime, *, at_most: int, event: AuditEvent
    ) -> bool:
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                if await connection.fetchval(_LOCK_USER, user_id) is None:
                    return False
                await _add_session(connection, user_id, session, now, at_most, event)
                return True

    async def add_api_token(
        self, user_id: int, token: StoredToken, now: datetime, *, at_most: int, event: AuditEvent
    ) -> bool:
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                if await connection.fetchval(_LOCK_USER, user_id) is None:
                    return False
                await connection.execute(_PRUNE_TOKENS, user_id, TokenKind.API_TOKEN, now, at_most)
                names = [name for (name,) in await connection.fetch(_NAMES_OF_TOKENS, user_id)]
                if token.record.name in names:
                    raise token_name_taken()
                if len(names) >= at_most:
                    raise token_limit_reached(at_most)
                await _insert_token(connection, user_id, token, event)
                return True

    async def find_identity(self, token_hash: bytes, now: datetime) -> KnownToken | None:
        with database_errors():
            row = await self._pool.fetchrow(_FIND_IDENTITY, token_hash, now)
        if row is None:
            return None
        kind = TokenKind(row["kind"])
        token = TokenInfo(
            id=row["id"],
            name=row["name"],
            kind=kind,
            scopes=granted_scopes(kind, row["scopes"]),
            expires_at=row["expires_at"],
        )
        return KnownToken(Identity(actor=Actor(row["user_id"], row["user_name"]), token=token), row["last_used_at"])

    async def list_tokens(self, user_id: int, kind: TokenKind, now: datetime) -> Sequence[TokenRecord]:
        with database_errors():
            rows = await self._pool.fetch(_LIST_TOKENS, user_id, kind, now)
        return [TokenRecord(**{**row, "kind": kind, "scopes": granted_scopes(kind, row["scopes"])}) for row in rows]

    async def log_out(self, key: str, token_hash: bytes, event: AuditEvent) -> int | None:
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                user_id: int | None = await connection.fetchval(_LOG_OUT, token_hash, key)
                if user_id is not None:
                    await insert_audit_event(connection, user_id, event)
                return user_id

    async def remove_token(self, user_id: int, kind: TokenKind, token_id: int, tell: Tell) -> bool:
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                about = await connection.fetchval(_REMOVE_ONE, user_id, kind, token_id)
                if about is None:
                    return False
                await insert_audit_event(connection, user_id, tell(about))
                return True

    async def remove_sessions(self, user_id: int, except_id: int | None, tell: Tell) -> int:
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.fetchval(_LOCK_USER, user_id)
                removed = len(await connection.fetch(_REMOVE_SESSIONS, user_id, except_id))
                if removed:
                    await insert_audit_event(connection, user_id, tell(str(removed)))
                return removed

    async def record_uses(self, uses: Mapping[TokenKey, datetime]) -> None:
        with database_errors():
            await self._pool.execute(
                _RECORD_USES,
                [key.user_id for key in uses],
                [key.token_id for key in uses],
                list(uses.values()),
            )

    # --- the audit log ------------------------------------------------------------------------------------------------

    async def add_event(self, user_id: int, event: AuditEvent) -> bool:
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                if await connection.fetchval(_LOCK_USER, user_id) is None:
                    return False
                await insert_audit_event(connection, user_id, event)
                return True

    async def list_events(self, user_id: int, before_id: int | None, limit: int) -> Sequence[AuditEvent]:
        with database_errors():
            rows = await self._pool.fetch(_LIST_EVENTS, user_id, _AFTER_ALL if before_id is None else before_id, limit)
        return [AuditEvent(**row) for row in rows]

    # --- what is over -------------------------------------------------------------------------------------------------

    async def remove_expired(self, now: datetime, limit: int) -> int:
        with database_errors():
            tickets = await self._pool.fetch(_SWEEP_TICKETS, now, limit)
            tokens = await self._pool.fetch(_SWEEP_TOKENS, now, limit)
        return len(tickets) + len(tokens)

    async def remove_events(self, before: datetime, limit: int) -> int:
        with database_errors():
            return len(await self._pool.fetch(_SWEEP_EVENTS, before, limit))


# --- inside a transaction ---------------------------------------------------------------------------------------------


class _RetiredName(Exception):
    pass


async def _add_user(connection: _Connection, user: User, key: str, identity: ProviderIdentity) -> bool:
    """Whether nobody is in the way.

    Raises:
        _RetiredName: nobody gets the name.
    """
    async with connection.transaction():
        added = await connection.fetchval(
            _ADD_USER,
            user.id,
            user.name,
            key,
            user.display_name,
            user.email,
            user.private,
            user.created_at,
            identity.provider,
            identity.subject,
        )
        if added is None:
            return False
        # Now that the name is ours: whoever had it before, and was just being deleted, has written it down by then.
        if await connection.fetchval(_IS_RETIRED, hash_name(key)):
            raise _RetiredName
        return True


async def _add_session(
    connection: _Connection, user_id: int, session: StoredToken, now: datetime, at_most: int, event: AuditEvent
) -> None:
    await connection.execute(_PRUNE_TOKENS, user_id, TokenKind.SESSION, now, at_most - 1)
    await _insert_token(connection, user_id, session, event)


async def _insert_token(connection: _Connection, user_id: int, token: StoredToken, event: AuditEvent) -> None:
    record = token.record
    try:
        await connection.execute(
            _INSERT_INTO_TOKENS,
            user_id,
            record.id,
            token.token_hash,
            record.kind,
            record.name,
            record.scopes,
            record.client,
            record.created_at,
            record.expires_at,
            record.last_used_at,
        )
    except asyncpg.UniqueViolationError:
        raise _id_taken() from None
    await insert_audit_event(connection, user_id, event)


async def insert_audit_event(connection: _Connection, user_id: int, event: AuditEvent) -> None:
    try:
        await connection.execute(
            _ADD_EVENT, user_id, event.id, event.type, event.timestamp, event.detail, event.client, event.address
        )
    except asyncpg.UniqueViolationError:
        raise _id_taken() from None


def _id_taken() -> Unavailable:
    """Two processes made the same id in the same millisecond."""
    return Unavailable("another change came in between; try again", code="try_again", retry_after=1)
