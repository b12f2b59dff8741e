"""What the user manager needs of a store.

A name's *key* is the name casefolded: by it names are found and are unique. Time is always the manager's.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pkg.object_model.errors import Conflict
from pkg.object_model.types import Actor, DirectoryEntry, Identity, TokenKind, User
from pkg.user_manager.providers import ProviderIdentity


@dataclass(frozen=True, slots=True)
class Account:
    """What a login needs to know of a user."""

    user: Actor
    identity: ProviderIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredToken:
    """A session or an API token as it is kept: without the token. A greater id means a later one."""

    id: int
    token_hash: bytes
    kind: TokenKind
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime


class UserStore(Protocol):
    async def add_user(self, user: User, key: str, identity: ProviderIdentity) -> None:
        """All of it, or nothing.

        Raises:
            Conflict: somebody has the name (``name_taken``) or the identity (``identity_taken``).
        """

    async def find_user(self, key: str) -> User | None: ...
    async def find_account(self, key: str) -> Account | None: ...
    async def find_users(self, keys: Collection[str]) -> dict[str, DirectoryEntry]:
        """By key; unknown ones are left out."""

    async def find_names(self, user_ids: Collection[int]) -> dict[int, str]: ...

    async def add_ticket(
        self, user_id: int, ticket_hash: bytes, now: datetime, expires_at: datetime, *, at_most: int
    ) -> bool:
        """Whether there is such a user. Their expired tickets go, and of the others all but the latest ``at_most``."""

    async def redeem_ticket(
        self, key: str, ticket_hash: bytes, session: StoredToken, now: datetime, *, at_most: int
    ) -> Actor | None:
        """Uses the ticket up and adds the session, as ``add_token`` does; both or neither.

        None if it is not a ticket of that user that is alive. Of several at once, one gets the session.
        """

    async def add_token(self, user_id: int, token: StoredToken, now: datetime, *, at_most: int) -> None:
        """Of the user's tokens of the same kind the expired ones go, and of the others all but the latest ``at_most``.

        The new one always stays. The user must exist.
        """

    async def find_identity(self, token_hash: bytes, now: datetime) -> Identity | None:
        """Whom a session or an API token stands for that is alive."""

    async def end_session(self, key: str, token_hash: bytes) -> None:
        """Ends the session if it is that user's."""


def name_taken(name: str) -> Conflict:
    return Conflict(f"the name {name} is taken; choose another", code="name_taken")


def identity_taken(provider: str) -> Conflict:
    return Conflict(f"this account of {provider} has a user already; log in", code="identity_taken")
