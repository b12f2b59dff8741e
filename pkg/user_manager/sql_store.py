"""Users in Postgres.

Whatever changes a user's tokens or tickets locks the user's row first, so that limits are exact, a ticket is used once,
and no two such transactions can wait for each other.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Final

import asyncpg

from pkg.object_model.errors import Unavailable
from pkg.object_model.types import Actor, DirectoryEntry, Identity, TokenInfo, TokenKind, User
from pkg.runtime.postgres import database_errors
from pkg.user_manager.providers import ProviderIdentity
from pkg.user_manager.store import Account, StoredToken, UserStore, identity_taken, name_taken

_ADD_USER: Final = """
    INSERT INTO users (id, name, name_key, display_name, email, private, created_at, provider, subject)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT DO NOTHING
    RETURNING id
"""
_WHAT_IS_TAKEN: Final = """
    SELECT bool_or(name_key = $1) AS name, bool_or(id = $2) AS id
    FROM users WHERE name_key = $1 OR id = $2 OR (provider = $3 AND subject = $4)
"""
_FIND_USER: Final = """
    SELECT id, name, display_name, email, private, created_at FROM users WHERE name_key = $1
"""
_FIND_ACCOUNT: Final = "SELECT id, name, provider, subject FROM users WHERE name_key = $1"
_FIND_USERS: Final = "SELECT name_key, id, name, private FROM users WHERE name_key = ANY($1::text[])"
_FIND_NAMES: Final = "SELECT id, name FROM users WHERE id = ANY($1::bigint[])"

_LOCK_USER: Final = "SELECT id FROM users WHERE id = $1 FOR NO KEY UPDATE"
_LOCK_USER_OF_TICKET: Final = """
    SELECT users.id, users.name
    FROM tickets JOIN users ON users.id = tickets.user_id
    WHERE tickets.ticket_hash = $1 AND tickets.expires_at > $2 AND users.name_key = $3
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
_INSERT_INTO_TOKENS: Final = """
    INSERT INTO tokens (user_id, id, token_hash, kind, name, scopes, created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
_PRUNE_TOKENS: Final = """
    DELETE FROM tokens
    WHERE user_id = $1 AND kind = $2 AND id NOT IN (
        SELECT id FROM tokens WHERE user_id = $1 AND kind = $2 AND expires_at > $3 ORDER BY id DESC LIMIT $4
    )
"""
_FIND_IDENTITY: Final = """
    SELECT users.id, users.name, tokens.name AS token_name, tokens.kind, tokens.scopes, tokens.expires_at
    FROM tokens JOIN users ON users.id = tokens.user_id
    WHERE tokens.token_hash = $1 AND tokens.expires_at > $2
"""
_END_SESSION: Final = """
    DELETE FROM tokens USING users
    WHERE tokens.token_hash = $1 AND tokens.kind = $2 AND users.id = tokens.user_id AND users.name_key = $3
"""


class SqlUserStore(UserStore):
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def add_user(self, user: User, key: str, identity: ProviderIdentity) -> None:
        with database_errors():
            added = await self._pool.fetchval(
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
            if added is not None:
                return
            taken = await self._pool.fetchrow(_WHAT_IS_TAKEN, key, user.id, identity.provider, identity.subject)
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

    async def find_users(self, keys: Collection[str]) -> dict[str, DirectoryEntry]:
        with database_errors():
            rows = await self._pool.fetch(_FIND_USERS, list(keys))
        return {key: DirectoryEntry(user_id, name, private) for key, user_id, name, private in rows}

    async def find_names(self, user_ids: Collection[int]) -> dict[int, str]:
        with database_errors():
            rows = await self._pool.fetch(_FIND_NAMES, list(user_ids))
        return dict(map(tuple, rows))

    async def add_ticket(
        self, user_id: int, ticket_hash: bytes, now: datetime, expires_at: datetime, *, at_most: int
    ) -> bool:
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                if not await connection.fetchval(_LOCK_USER, user_id):
                    return False
                await connection.execute(_PRUNE_TICKETS, user_id, now, at_most - 1)
                await connection.execute(_ADD_TICKET, user_id, ticket_hash, expires_at)
                return True

    async def redeem_ticket(
        self, key: str, ticket_hash: bytes, session: StoredToken, now: datetime, *, at_most: int
    ) -> Actor | None:
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                row = await connection.fetchrow(_LOCK_USER_OF_TICKET, ticket_hash, now, key)
                # Somebody else may have used it while we waited for the lock.
                if row is None or not await connection.fetchval(_USE_TICKET, row["id"], ticket_hash):
                    return None
                await _add_token(connection, row["id"], session, now, at_most)
                return Actor(row["id"], row["name"])

    async def add_token(self, user_id: int, token: StoredToken, now: datetime, *, at_most: int) -> None:
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.fetchval(_LOCK_USER, user_id)
                await _add_token(connection, user_id, token, now, at_most)

    async def find_identity(self, token_hash: bytes, now: datetime) -> Identity | None:
        with database_errors():
            row = await self._pool.fetchrow(_FIND_IDENTITY, token_hash, now)
        if row is None:
            return None
        token = TokenInfo(
            name=row["token_name"],
            kind=TokenKind(row["kind"]),
            scopes=tuple(row["scopes"]),
            expires_at=row["expires_at"],
        )
        return Identity(actor=Actor(row["id"], row["name"]), token=token)

    async def end_session(self, key: str, token_hash: bytes) -> None:
        with database_errors():
            await self._pool.execute(_END_SESSION, token_hash, TokenKind.SESSION, key)


async def _add_token(
    connection: "asyncpg.pool.PoolConnectionProxy", user_id: int, token: StoredToken, now: datetime, at_most: int
) -> None:
    await connection.execute(_PRUNE_TOKENS, user_id, token.kind, now, at_most - 1)
    try:
        await connection.execute(
            _INSERT_INTO_TOKENS,
            user_id,
            token.id,
            token.token_hash,
            token.kind,
            token.name,
            token.scopes,
            token.created_at,
            token.expires_at,
        )
    except asyncpg.UniqueViolationError:
        raise _id_taken() from None


def _id_taken() -> Unavailable:
    """Two processes made the same id in the same millisecond."""
    return Unavailable("another change came in between; try again", code="try_again", retry_after=1)
