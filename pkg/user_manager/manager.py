"""The rules of users, sessions and tokens."""

import unicodedata
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from pkg.object_model import interfaces
from pkg.object_model.clock import Clock, IdGenerator
from pkg.object_model.errors import (
    Conflict,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from pkg.object_model.paging import check_page_limit, decode_page_token, encode_page_token
from pkg.object_model.types import (
    Actor,
    AuditEvent,
    AuditEventType,
    AuditPage,
    CreateTokenRequest,
    DirectoryEntry,
    Identity,
    NewApiToken,
    PageRequest,
    ProviderProfile,
    RegisterRequest,
    Scope,
    Session,
    Ticket,
    TokenKind,
    TokenRecord,
    UpdateUserRequest,
    User,
)
from pkg.user_manager.deletions import AccountDeletions, WhereFrom, from_nowhere
from pkg.user_manager.names import candidate_names, check_name, is_name
from pkg.user_manager.profiles import (
    check_display_name,
    check_email,
    check_identity,
    display_name_from,
    email_from,
    is_shown,
)
from pkg.user_manager.providers import LOCAL, IdentityProvider, ProviderIdentity
from pkg.user_manager.store import Owner, StoredToken, UserState, UserStore
from pkg.user_manager.tokens import API_TOKEN_PREFIX, SESSION_PREFIX, TICKET_PREFIX, hash_token, is_token, make_token
from pkg.user_manager.uses import TokenUses

#: However much it is used.
SESSION_LIFETIME: Final = timedelta(days=14)
#: Long enough for a redirect from the provider back to us.
TICKET_LIFETIME: Final = timedelta(minutes=2)
#: Of one user, alive at once; one more ends the oldest.
MAX_SESSIONS: Final = 100
MAX_TICKETS: Final = 10
#: One more is refused: a program would stop working, and nobody had told it to.
MAX_API_TOKENS: Final = 50
MAX_TOKEN_DAYS: Final = 366
MAX_TOKEN_NAME_CHARACTERS: Final = 100
MAX_AUTH_TOKEN_CHARACTERS: Final = 4_096
#: Of what the audit log says of a thing, or of a client.
MAX_NOTE_CHARACTERS: Final = 200

#: Told the id of a user whose sessions or tokens have ended, so that whoever remembers them forgets.
type OnRevoked = Callable[[int], Awaitable[None]]


async def _tell_nobody(_user_id: int) -> None:
    pass


class UserManager(interfaces.UserManager):
    def __init__(
        self,
        store: UserStore,
        clock: Clock,
        ids: IdGenerator,
        *,
        provider: IdentityProvider | None = None,
        deletions: AccountDeletions,
        on_revoked: OnRevoked = _tell_nobody,
        where_from: WhereFrom = from_nowhere,
    ) -> None:
        """``provider`` is asked about every AuthToken; without one only our own tickets open a session. ``where_from``
        knows the address that the current call is for, for the log of the account.
        """
        self._store = store
        self._clock = clock
        self._ids = ids
        self._provider = provider
        self._deletions = deletions
        self._on_revoked = on_revoked
        self._where_from = where_from
        self._uses = TokenUses(store)

    # --- getting in ---------------------------------------------------------------------------------------------------

    async def register(self, actor: Actor | None, request: RegisterRequest) -> User:
        """A new local user.

        Raises:
            InvalidArgument: ``invalid_name``, ``invalid_email`` or ``invalid_display_name``.
            Conflict: somebody has or had the name, in this or other case (``name_taken``); nobody gets it
                (``name_reserved``).
        """
        name = check_name(request.name)
        user = self._new_user(name, check_display_name(request.display_name), check_email(request.email))
        # Names may change one day, the identity never does.
        await self._store.add_user(user, name.casefold(), ProviderIdentity(LOCAL, str(user.id)))
        return user

    async def admit(self, profile: ProviderProfile) -> Ticket:
        """A ticket for the user of the provider's subject; for a new one, if there is none, whose name is made of what
        the provider calls them. Later changes at the provider change nothing here. Whoever comes back while they may
        still change their mind keeps their account.

        Raises:
            InvalidArgument: no user can be keyed on it (``invalid_profile``).
            PermissionDenied: the account is being deleted (``account_deleting``).
        """
        identity = check_identity(profile)
        owner = await self._store.find_owner(identity) or await self._add_user_of(profile, identity)
        if owner.state is not UserState.ACTIVE and not await self._deletions.cancel(owner.user.user_id):
            raise PermissionDenied(
                "this account is being deleted; log in again when that is done, for a new one", code="account_deleting"
            )
        ticket = await self._make_ticket(owner.user.user_id)
        if ticket is None:
            raise _try_again()
        return ticket

    async def issue_ticket(self, username: str) -> Ticket:
        """For an operator to let somebody in. The user's audit log says so.

        Raises:
            NotFound: there is no such user (``user_not_found``).
        """
        account = await self._store.find_account(username.casefold()) if is_name(username) else None
        event = self._event(AuditEventType.TICKET_ISSUED)
        ticket = await self._make_ticket(account.user.user_id, event) if account else None
        if ticket is None:
            raise _user_not_found()
        return ticket

    async def login(self, username: str, auth_token: str, client: str = "") -> Session:
        """A new session beside those that the user has. Beyond MAX_SESSIONS the oldest ends.

        ``auth_token`` is a ticket of ours, or whatever the provider takes for a proof.

        Raises:
            Unauthenticated: there is no such user, or the proof is none (``invalid_ticket``); which, is not said.
        """
        now = self._clock.now()
        token = make_token(SESSION_PREFIX)
        record = self._new_record(TokenKind.SESSION, now, SESSION_LIFETIME, client=_shorten(client))
        user = await self._open_session(username, auth_token, StoredToken(record, hash_token(token)), now)
        if user is None:
            raise Unauthenticated(
                "the user name or the ticket is wrong, or the ticket was used or is too old; start the login again",
                code="invalid_ticket",
            )
        return Session(token=token, user=user, expires_at=record.expires_at)

    async def logout(self, username: str, session: str) -> None:
        """Ends the session if it is that user's, and nothing else. One that is unknown or over is no error."""
        if is_name(username) and is_token(session, SESSION_PREFIX):
            event = self._event(AuditEventType.LOGOUT)
            user_id = await self._store.log_out(username.casefold(), hash_token(session), event)
            if user_id is not None:
                await self._on_revoked(user_id)

    async def authenticate(self, token: str) -> Identity:
        """Whom a session or an API token stands for.

        Raises:
            Unauthenticated: nobody, or nobody any more (``invalid_token``).
        """
        known, now = None, self._clock.now()
        if is_token(token, SESSION_PREFIX, API_TOKEN_PREFIX):
            known = await self._store.find_identity(hash_token(token), now)
        if known is None:
            raise Unauthenticated("the token is unknown, expired or revoked; log in again", code="invalid_token")
        self._uses.note(known, now)
        return known.identity

    # --- who is who ---------------------------------------------------------------------------------------------------

    async def get_user(self, actor: Actor | None, name: str) -> User:
        """Raises NotFound if nobody has the name, in this or other case (``user_not_found``)."""
        user = await self._store.find_user(name.casefold()) if is_name(name) else None
        if user is None:
            raise _user_not_found()
        return user

    async def find_users(self, names: Collection[str]) -> dict[str, DirectoryEntry]:
        keys = {name: name.casefold() for name in names if is_name(name)}
        found = await self._store.find_users(set(keys.values())) if keys else {}
        return {name: found[key] for name, key in keys.items() if key in found}

    async def find_names(self, user_ids: Collection[int]) -> dict[int, str]:
        wanted = {user_id for user_id in user_ids if user_id in _IDS}
        return await self._store.find_names(wanted) if wanted else {}

    # --- one's own account --------------------------------------------------------------------------------------------
    # Each raises PermissionDenied where nobody is asking (``not_yours``), and those that add or change something
    # NotFound when the account is gone (``user_not_found``).

    async def update_user(self, actor: Actor | None, request: UpdateUserRequest) -> User:
        """
        Raises:
            InvalidArgument: ``invalid_email``, ``invalid_display_name``, or nothing is sent (``nothing_to_change``).
        """
        owner = _owner(actor)
        changes = UpdateUserRequest(
            display_name=None
            if request.display_name is None
            else check_display_name(request.display_name) or owner.name,
            email=None if request.email is None else check_email(request.email),
            private=request.private,
        )
        changed = [name.replace("_", " ") for name in changes.model_dump(exclude_none=True)]
        if not changed:
            raise InvalidArgument("send DisplayName, Email or Private, whatever is to change", code="nothing_to_change")
        event = self._event(AuditEventType.ACCOUNT_CHANGED, ", ".join(changed))
        user = await self._store.update_user(owner.user_id, changes, event)
        if user is None:
            raise _user_not_found()
        return user

    async def list_sessions(self, actor: Actor | None) -> list[TokenRecord]:
        """Newest first."""
        return list(await self._store.list_tokens(_owner(actor).user_id, TokenKind.SESSION, self._clock.now()))

    async def end_session(self, actor: Actor | None, session_id: int) -> bool:
        return await self._remove_token(actor, TokenKind.SESSION, session_id, AuditEventType.SESSION_ENDED)

    async def end_sessions(self, actor: Actor | None, except_id: int | None = None) -> int:
        user_id = _owner(actor).user_id
        ended = await self._store.remove_sessions(
            user_id, except_id, lambda count: self._event(AuditEventType.SESSION_ENDED, f"{count} sessions")
        )
        if ended:
            await self._on_revoked(user_id)
        return ended

    async def create_token(self, actor: Actor | None, request: CreateTokenRequest) -> NewApiToken:
        """
        Raises:
            InvalidArgument: ``invalid_token_name``, ``invalid_scopes`` or ``invalid_expiry``.
            Conflict: a token of the user has the name (``token_name_taken``), or there are MAX_API_TOKENS already
                (``token_limit_reached``).
        """
        owner = _owner(actor)
        now = self._clock.now()
        name = _check_token_name(request.name)
        record = self._new_record(
            TokenKind.API_TOKEN, now, _check_lifetime(request), name=name, scopes=_check_scopes(request)
        )
        token = make_token(API_TOKEN_PREFIX)
        event = self._event(AuditEventType.TOKEN_MADE, name)
        stored = StoredToken(record, hash_token(token))
        if not await self._store.add_api_token(owner.user_id, stored, now, at_most=MAX_API_TOKENS, event=event):
            raise _user_not_found()
        return NewApiToken(token, record)

    async def list_tokens(self, actor: Actor | None) -> list[TokenRecord]:
        """Newest first."""
        return list(await self._store.list_tokens(_owner(actor).user_id, TokenKind.API_TOKEN, self._clock.now()))

    async def revoke_token(self, actor: Actor | None, token_id: int) -> bool:
        return await self._remove_token(actor, TokenKind.API_TOKEN, token_id, AuditEventType.TOKEN_REVOKED)

    async def get_audit_events(self, actor: Actor | None, request: PageRequest) -> AuditPage:
        """
        Raises:
            InvalidArgument: ``invalid_limit`` or ``invalid_start_token``.
        """
        user_id = _owner(actor).user_id
        limit = check_page_limit(request.limit)
        scope = ("audit", user_id)
        position = decode_page_token(request.start_token, scope, (int,))
        before_id = int(position[0]) if position else None
        events = list(await self._store.list_events(user_id, before_id, limit + 1))
        token = ""
        if len(events) > limit:
            del events[limit:]
            token = encode_page_token(scope, (events[-1].id,))
        return AuditPage(events, token)

    async def delete_account(self, actor: Actor | None, confirm: str) -> None:
        """Closes the account at once: sessions and tokens end, and nobody finds the user any more. To ask again is no
        error.

        Raises:
            InvalidArgument: ``confirm`` is not the user's name (``not_confirmed``).
        """
        owner = _owner(actor)
        if confirm.casefold() != owner.name.casefold():
            raise InvalidArgument(
                "confirm must be your own user name: nothing of the account can be brought back", code="not_confirmed"
            )
        if not await self._deletions.begin(owner.user_id):
            raise _user_not_found()
        await self._on_revoked(owner.user_id)

    async def record_audit_event(
        self, actor: Actor | None, event_type: AuditEventType, detail: str, client: str = ""
    ) -> None:
        event = self._event(event_type, detail, client)
        if not await self._store.add_event(_owner(actor).user_id, event):
            raise _user_not_found()

    # --- what nobody asks for -----------------------------------------------------------------------------------------

    async def record_uses(self) -> int:
        """Writes down when sessions and tokens were last used; how many.

        Raises:
            Unavailable: the store cannot be reached; they wait for the next time.
        """
        return await self._uses.write()

    # --- in steps -----------------------------------------------------------------------------------------------------

    async def _add_user_of(self, profile: ProviderProfile, identity: ProviderIdentity) -> Owner:
        display_name, email = display_name_from(profile), email_from(profile)
        for name in candidate_names(profile.login):
            user = self._new_user(name, display_name, email)
            try:
                await self._store.add_user(user, name.casefold(), identity)
            except Conflict as conflict:
                if conflict.code == "name_taken":
                    continue
                # Somebody else admits the same user, and was first.
                owner = await self._store.find_owner(identity)
                if owner is None:
                    raise _try_again() from None
                return owner
            return Owner(user.ref, UserState.ACTIVE)
        raise _try_again()

    async def _make_ticket(self, user_id: int, event: AuditEvent | None = None) -> Ticket | None:
        now = self._clock.now()
        ticket = make_token(TICKET_PREFIX)
        expires_at = now + TICKET_LIFETIME
        user = await self._store.add_ticket(
            user_id, hash_token(ticket), now, expires_at, at_most=MAX_TICKETS, event=event
        )
        return Ticket(user=user, ticket=ticket, expires_at=expires_at) if user else None

    async def _open_session(self, username: str, auth_token: str, session: StoredToken, now: datetime) -> Actor | None:
        """The user, if the proof holds. A user who does not exist costs as much as a ticket that does not."""
        if not is_name(username) or len(auth_token) > MAX_AUTH_TOKEN_CHARACTERS:
            return None
        key = username.casefold()
        event = self._event(AuditEventType.LOGIN, client=session.record.client)
        if self._provider is not None:
            account = await self._store.find_account(key)
            if account is not None and await self._provider.vouch(account.identity, auth_token):
                user = account.user
                added = await self._store.add_session(user.user_id, session, now, at_most=MAX_SESSIONS, event=event)
                return user if added else None
        if not is_token(auth_token, TICKET_PREFIX):
            return None
        return await self._store.redeem_ticket(
            key, hash_token(auth_token), session, now, at_most=MAX_SESSIONS, event=event
        )

    async def _remove_token(
        self, actor: Actor | None, kind: TokenKind, token_id: int, event_type: AuditEventType
    ) -> bool:
        user_id = _owner(actor).user_id
        if token_id not in _IDS:
            return False
        removed = await self._store.remove_token(user_id, kind, token_id, partial(self._event, event_type))
        if removed:
            await self._on_revoked(user_id)
        return removed

    def _new_user(self, name: str, display_name: str, email: str) -> User:
        return User(
            id=self._ids.new_id(),
            name=name,
            display_name=display_name or name,
            email=email,
            private=False,
            created_at=self._clock.now(),
        )

    def _new_record(
        self,
        kind: TokenKind,
        now: datetime,
        lifetime: timedelta,
        *,
        name: str = "",
        scopes: tuple[Scope, ...] = tuple(Scope),
        client: str = "",
    ) -> TokenRecord:
        return TokenRecord(
            id=self._ids.new_id(),
            kind=kind,
            name=name,
            scopes=scopes,
            client=client,
            created_at=now,
            expires_at=now + lifetime,
            last_used_at=None,
        )

    def _event(self, event_type: AuditEventType, detail: str = "", client: str = "") -> AuditEvent:
        return AuditEvent(
            id=self._ids.new_id(),
            type=event_type,
            timestamp=self._clock.now(),
            detail=_shorten(detail),
            client=_shorten(client),
            address=self._where_from(),
        )


_IDS: Final = range(2**63)


def _owner(actor: Actor | None) -> Actor:
    if actor is None:
        raise PermissionDenied("an account is its user's alone; say for whom this is", code="not_yours")
    return actor


def _check_token_name(name: str) -> str:
    name = unicodedata.normalize("NFC", name).strip()
    if not 0 < len(name) <= MAX_TOKEN_NAME_CHARACTERS or not is_shown(name):
        raise InvalidArgument(
            f"Name must have 1 to {MAX_TOKEN_NAME_CHARACTERS} characters, none of them a control character or one that"
            " changes the direction of text",
            code="invalid_token_name",
        )
    return name


def _check_scopes(request: CreateTokenRequest) -> tuple[Scope, ...]:
    """In the order in which they are listed."""
    if not request.scopes:
        raise InvalidArgument(f"Scopes must name one at least of {', '.join(Scope)}", code="invalid_scopes")
    return tuple(scope for scope in Scope if scope in request.scopes)


def _check_lifetime(request: CreateTokenRequest) -> timedelta:
    if not 1 <= request.expires_in_days <= MAX_TOKEN_DAYS:
        raise InvalidArgument(
            f"ExpiresInDays must be between 1 and {MAX_TOKEN_DAYS}, not {request.expires_in_days}",
            code="invalid_expiry",
        )
    return timedelta(days=request.expires_in_days)


def _shorten(text: str) -> str:
    """What of a text from outside goes into a list: its beginning, on one line."""
    return "".join(filter(is_shown, text[:MAX_NOTE_CHARACTERS]))


def _user_not_found() -> NotFound:
    return NotFound("there is no such user; check the name", code="user_not_found")


def _try_again() -> Unavailable:
    return Unavailable("another change came in between; try again", code="try_again", retry_after=1)
