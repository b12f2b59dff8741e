"""The rules of users, sessions and tokens."""

import re
import unicodedata
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from pkg.object_model import interfaces
from pkg.object_model.clock import Clock, IdGenerator
from pkg.object_model.errors import InvalidArgument, NotFound, Unauthenticated
from pkg.object_model.types import (
    USER_NAME_PATTERN,
    Actor,
    DirectoryEntry,
    Identity,
    RegisterRequest,
    Session,
    TokenKind,
    User,
)
from pkg.user_manager.providers import LOCAL, IdentityProvider, ProviderIdentity
from pkg.user_manager.store import StoredToken, UserStore
from pkg.user_manager.tokens import API_TOKEN_PREFIX, SESSION_PREFIX, TICKET_PREFIX, hash_token, is_token, make_token

SESSION_LIFETIME: Final = timedelta(days=14)
#: Long enough for a redirect from the provider back to us.
TICKET_LIFETIME: Final = timedelta(minutes=2)
#: Of one user, alive at once; one more ends the oldest.
MAX_SESSIONS: Final = 100
MAX_TICKETS: Final = 10
MAX_EMAIL_CHARACTERS: Final = 254
MAX_DISPLAY_NAME_CHARACTERS: Final = 255
MAX_AUTH_TOKEN_CHARACTERS: Final = 4_096

_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+")
_IDS: Final = range(2**63)
#: ZWNJ and ZWJ show nothing themselves, but Persian names and emoji are spelt with them.
_JOINERS: Final = "\u200c\u200d"


class UserManager(interfaces.UserManager):
    def __init__(
        self, store: UserStore, clock: Clock, ids: IdGenerator, *, provider: IdentityProvider | None = None
    ) -> None:
        """``provider`` is asked about every AuthToken; without one only our own tickets open a session."""
        self._store = store
        self._clock = clock
        self._ids = ids
        self._provider = provider

    async def register(self, actor: Actor | None, request: RegisterRequest) -> User:
        """A new local user.

        Raises:
            InvalidArgument: ``invalid_name``, ``invalid_email`` or ``invalid_display_name``.
            Conflict: somebody has the name, in this or other case (``name_taken``).
        """
        name = _check_name(request.name)
        user = User(
            id=self._ids.new_id(),
            name=name,
            display_name=_check_display_name(request.display_name) or name,
            email=_check_email(request.email),
            private=False,
            created_at=self._clock.now(),
        )
        # Names may change one day, the identity never does.
        await self._store.add_user(user, name.casefold(), ProviderIdentity(LOCAL, str(user.id)))
        return user

    async def login(self, username: str, auth_token: str) -> Session:
        """A new session beside those that the user has. Beyond MAX_SESSIONS the oldest ends.

        ``auth_token`` is a ticket that ``issue_ticket`` gave, or whatever the provider takes for a proof.

        Raises:
            Unauthenticated: there is no such user, or the proof is none (``invalid_ticket``); which, is not said.
        """
        now = self._clock.now()
        token = make_token(SESSION_PREFIX)
        session = StoredToken(
            id=self._ids.new_id(),
            token_hash=hash_token(token),
            kind=TokenKind.SESSION,
            name="",
            scopes=(),
            created_at=now,
            expires_at=now + SESSION_LIFETIME,
        )
        user = await self._open_session(username, auth_token, session, now)
        if user is None:
            raise Unauthenticated(
                "the user name or the ticket is wrong, or the ticket was used or is too old; start the login again",
                code="invalid_ticket",
            )
        return Session(token=token, user=user, expires_at=session.expires_at)

    async def issue_ticket(self, user_id: int) -> str:
        """A ticket that opens one session of the user within TICKET_LIFETIME, for whoever has seen a provider's proof.

        Raises:
            NotFound: there is no such user (``user_not_found``).
        """
        now = self._clock.now()
        ticket = make_token(TICKET_PREFIX)
        if not await self._store.add_ticket(
            user_id, hash_token(ticket), now, now + TICKET_LIFETIME, at_most=MAX_TICKETS
        ):
            raise NotFound(f"there is no user with the id {user_id}", code="user_not_found")
        return ticket

    async def logout(self, username: str, session: str) -> None:
        """Ends the session if it is that user's, and nothing else. One that is unknown or over is no error."""
        if _is_name(username) and is_token(session, SESSION_PREFIX):
            await self._store.end_session(username.casefold(), hash_token(session))

    async def authenticate(self, token: str) -> Identity:
        """Whom a session or an API token stands for.

        Raises:
            Unauthenticated: nobody, or nobody any more (``invalid_token``).
        """
        identity = None
        if is_token(token, SESSION_PREFIX, API_TOKEN_PREFIX):
            identity = await self._store.find_identity(hash_token(token), self._clock.now())
        if identity is None:
            raise Unauthenticated("the token is unknown, expired or revoked; log in again", code="invalid_token")
        return identity

    async def get_user(self, actor: Actor | None, name: str) -> User:
        """Raises NotFound if nobody has the name, in this or other case (``user_not_found``)."""
        user = await self._store.find_user(name.casefold()) if _is_name(name) else None
        if user is None:
            raise NotFound("there is no such user; check the name", code="user_not_found")
        return user

    async def find_users(self, names: Collection[str]) -> dict[str, DirectoryEntry]:
        keys = {name: name.casefold() for name in names if _is_name(name)}
        found = await self._store.find_users(set(keys.values())) if keys else {}
        return {name: found[key] for name, key in keys.items() if key in found}

    async def find_names(self, user_ids: Collection[int]) -> dict[int, str]:
        wanted = {user_id for user_id in user_ids if user_id in _IDS}
        return await self._store.find_names(wanted) if wanted else {}

    async def _open_session(self, username: str, auth_token: str, session: StoredToken, now: datetime) -> Actor | None:
        """The user, if the proof holds. A user who does not exist costs as much as a ticket that does not."""
        if not _is_name(username) or len(auth_token) > MAX_AUTH_TOKEN_CHARACTERS:
            return None
        key = username.casefold()
        if self._provider is not None:
            account = await self._store.find_account(key)
            if account is not None and await self._provider.vouch(account.identity, auth_token):
                await self._store.add_token(account.user.user_id, session, now, at_most=MAX_SESSIONS)
                return account.user
        if not is_token(auth_token, TICKET_PREFIX):
            return None
        return await self._store.redeem_ticket(key, hash_token(auth_token), session, now, at_most=MAX_SESSIONS)


def _is_name(text: str) -> bool:
    return USER_NAME_PATTERN.fullmatch(text) is not None


def _check_name(name: str) -> str:
    if not _is_name(name):
        raise InvalidArgument(
            "Name must have 1 to 39 letters (a-z), digits, dots, dashes or underscores,"
            " and begin and end with a letter or digit",
            code="invalid_name",
        )
    return name


def _check_email(email: str) -> str:
    """A sanity check: whether it is somebody's, only a message to it would tell."""
    email = email.strip()
    if email and not (len(email) <= MAX_EMAIL_CHARACTERS and email.isprintable() and _EMAIL.fullmatch(email)):
        raise InvalidArgument(
            f"Email must be an address like name@example.org, of at most {MAX_EMAIL_CHARACTERS} characters;"
            " or leave it out",
            code="invalid_email",
        )
    return email


def _check_display_name(display_name: str) -> str:
    display_name = unicodedata.normalize("NFC", display_name).strip()
    if len(display_name) > MAX_DISPLAY_NAME_CHARACTERS or not all(map(_is_shown, display_name)):
        raise InvalidArgument(
            f"DisplayName must have at most {MAX_DISPLAY_NAME_CHARACTERS} characters, none of them a control character"
            " or one that changes the direction of text; or leave it out",
            code="invalid_display_name",
        )
    return display_name


def _is_shown(character: str) -> bool:
    """Neither a control character nor one that makes text look like another (bidirectional overrides)."""
    return character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs"
