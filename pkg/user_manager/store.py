"""What the user manager needs of a store.

A name's *key* is the name casefolded: by it names are found and are unique. Time is always the manager's. An account
that is being deleted is nobody's any more: only ``find_owner`` still knows whose it was, and ``find_names`` what it was
called.

An event of the audit log is written in the transaction of the change that it tells of. ``Tell`` makes one of what only
the store knows of the change.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from pkg.object_model.errors import Conflict
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
)
from pkg.user_manager.providers import ProviderIdentity

#: A session that nobody uses for so long is over.
SESSION_IDLE_LIFETIME: Final = timedelta(days=3)

#: Given the name or client of what ended, or how many did.
type Tell = Callable[[str], AuditEvent]


class UserState(StrEnum):
    ACTIVE = "active"
    DELETING = "deleting"


@dataclass(frozen=True, slots=True)
class Account:
    """What a login needs to know of a user."""

    user: Actor
    identity: ProviderIdentity


class Owner(NamedTuple):
    user: Actor
    state: UserState


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A session or an API token as it is kept: without the token. A greater id means a later one."""

    record: TokenRecord
    token_hash: bytes


class KnownToken(NamedTuple):
    identity: Identity
    last_used_at: datetime | None


class TokenKey(NamedTuple):
    user_id: int
    token_id: int


class UserStore(Protocol):
    async def add_user(self, user: User, key: str, identity: ProviderIdentity) -> None:
        """All of it, or nothing.

        Raises:
            Conflict: somebody has the name, or had it before their account was deleted (``name_taken``), or somebody
                has the identity (``identity_taken``).
        """

    async def find_user(self, key: str) -> User | None: ...
    async def find_account(self, key: str) -> Account | None: ...
    async def find_owner(self, identity: ProviderIdentity) -> Owner | None: ...
    async def find_users(self, keys: Collection[str]) -> dict[str, DirectoryEntry]:
        """By key; unknown ones are left out."""

    async def find_names(self, user_ids: Collection[int]) -> dict[int, str]: ...
    async def update_user(self, user_id: int, changes: UpdateUserRequest, event: AuditEvent) -> User | None:
        """The user as changed, if there is such a one."""

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
        """Whose it is, if there is such a user.

        Their expired tickets go, and of the others all but the latest ``at_most``.
        """

    async def redeem_ticket(
        self, key: str, ticket_hash: bytes, session: StoredToken, now: datetime, *, at_most: int, event: AuditEvent
    ) -> Actor | None:
        """Uses the ticket up and adds the session, as ``add_session`` does; both or neither.

        None if it is not a ticket of that user that is alive. Of several at once, one gets the session.
        """

    async def add_session(
        self, user_id: int, session: StoredToken, now: datetime, *, at_most: int, event: AuditEvent
    ) -> bool:
        """Whether there is such a user.

        Of their sessions those that are over go, and of the others all but the latest ``at_most``. The new one stays.
        """

    async def add_api_token(
        self, user_id: int, token: StoredToken, now: datetime, *, at_most: int, event: AuditEvent
    ) -> bool:
        """Whether there is such a user. Their expired API tokens go.

        Raises:
            Conflict: a token of theirs has the name (``token_name_taken``), or they have ``at_most`` already
                (``token_limit_reached``).
        """

    async def find_identity(self, token_hash: bytes, now: datetime) -> KnownToken | None:
        """Whom a session or an API token stands for that is alive."""

    async def list_tokens(self, user_id: int, kind: TokenKind, now: datetime) -> Sequence[TokenRecord]:
        """Those that are alive, newest first."""

    async def log_out(self, key: str, token_hash: bytes, event: AuditEvent) -> int | None:
        """Ends the session if it is that user's, whose id is given."""

    async def remove_token(self, user_id: int, kind: TokenKind, token_id: int, tell: Tell) -> bool:
        """Whether it was there. ``tell`` is given the name of an API token, the client of a session."""

    async def remove_sessions(self, user_id: int, except_id: int | None, tell: Tell) -> int:
        """How many there were, which ``tell`` is given. Nothing is told of none."""

    async def record_uses(self, uses: Mapping[TokenKey, datetime]) -> None:
        """When tokens were last used, of those that are still there; a later time stays."""

    # --- the audit log ------------------------------------------------------------------------------------------------

    async def add_event(self, user_id: int, event: AuditEvent) -> bool:
        """Whether there is such a user."""

    async def list_events(self, user_id: int, before_id: int | None, limit: int) -> Sequence[AuditEvent]:
        """Newest first."""

    # --- what is over -------------------------------------------------------------------------------------------------

    async def remove_expired(self, now: datetime, limit: int) -> int:
        """How many tickets, sessions and API tokens of anybody went that have expired; at most ``limit`` of each."""

    async def remove_events(self, before: datetime, limit: int) -> int:
        """How many events of anybody went that are older; at most ``limit``."""


def is_alive(record: TokenRecord, now: datetime) -> bool:
    if record.expires_at <= now:
        return False
    used_at = record.last_used_at or record.created_at
    return record.kind is not TokenKind.SESSION or used_at > now - SESSION_IDLE_LIFETIME


def describe(record: TokenRecord) -> TokenInfo:
    return TokenInfo(
        id=record.id, name=record.name, kind=record.kind, scopes=record.scopes, expires_at=record.expires_at
    )


def name_taken(name: str) -> Conflict:
    return Conflict(f"the name {name} is taken; choose another", code="name_taken")


def identity_taken(provider: str) -> Conflict:
    return Conflict(f"this account of {provider} has a user already; log in", code="identity_taken")


def token_name_taken() -> Conflict:
    return Conflict("you have a token of this name already; choose another name", code="token_name_taken")


def token_limit_reached(at_most: int) -> Conflict:
    return Conflict(f"you have {at_most} tokens, which is the most; revoke one first", code="token_limit_reached")
