"""Every service as a Protocol. A manager implements one, the service's client library the same one, and so does a
fake, so that a caller cannot tell a local manager from a remote one.

``actor`` is the end user on whose behalf the call is made; None where there is none (a service asks for itself).
Every method raises the errors of ``pkg.object_model.errors`` and no others; a client adds Unavailable and
DeadlineExceeded to those of the manager.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime
from typing import Protocol

from pkg.object_model.errors import DelinkciousError
from pkg.object_model.events import LinkCheckedEvent
from pkg.object_model.types import (
    Actor,
    AddLinkRequest,
    AuditEventType,
    AuditPage,
    CheckLinkRequest,
    CreateTokenRequest,
    DirectoryEntry,
    FollowCounts,
    FollowRequest,
    FollowState,
    GetFollowRequest,
    GetLinksRequest,
    GetNewsRequest,
    GetTagsRequest,
    Identity,
    IdPage,
    ImportReport,
    ImportRequest,
    Link,
    LinkCount,
    LinkHistory,
    LinkPage,
    MoveLinkRequest,
    NamePage,
    NewApiToken,
    NewsPage,
    PageRequest,
    ProviderProfile,
    RegisterRequest,
    Relationship,
    Session,
    SharedLink,
    StatusCount,
    TagPage,
    Ticket,
    TokenRecord,
    UpdateLinkRequest,
    UpdateUserRequest,
    User,
    UserPage,
    Verdict,
)


class UserData(Protocol):
    """What a service holds of users, who may leave."""

    async def erase_user(self, user_id: int, start_token: str) -> str:
        """Removes a bounded part of all that is the user's or names them; gives the token to go on with, "" at the end.

        May be begun anew at any time. Nothing is told of it: each service that holds something is asked.
        """


class LinkManager(UserData, Protocol):
    """Links, of which everybody sees their own and what others let them see."""

    async def get_links(self, actor: Actor | None, request: GetLinksRequest) -> LinkPage: ...
    async def add_link(self, actor: Actor | None, request: AddLinkRequest) -> Link: ...
    async def update_link(self, actor: Actor | None, request: UpdateLinkRequest) -> Link: ...
    async def delete_link(self, actor: Actor | None, username: str, url: str) -> bool:
        """Whether there was such a link. Deleting what is not there is no error."""

    async def get_tags(self, actor: Actor | None, request: GetTagsRequest) -> TagPage: ...
    async def get_shared_links(
        self, user_ids: Collection[int], limit: int, changed_after: datetime | None = None
    ) -> list[SharedLink]:
        """For those who keep followers' feeds: of each user, at most ``limit`` that followers may see, those that were
        changed last; none from before ``changed_after``."""

    async def count_links(self, actor: Actor | None, username: str) -> LinkCount: ...
    async def count_statuses(self, actor: Actor | None, username: str) -> list[StatusCount]:
        """How many of one's own links have which status and reason; those that none has are left out."""

    async def ask_for_check(self, actor: Actor | None, request: CheckLinkRequest) -> Link:
        """One's own link as it is; what is found is shown on it later. What was looked at a moment ago is not again."""

    async def move_link(self, actor: Actor | None, request: MoveLinkRequest) -> Link:
        """The link at its page's new address, with what is the owner's there already."""

    async def get_link_history(self, actor: Actor | None, username: str, url: str) -> LinkHistory: ...
    async def import_links(
        self, actor: Actor | None, request: ImportRequest, content: AsyncIterator[bytes]
    ) -> ImportReport: ...
    def export_links(self, actor: Actor | None, username: str) -> AsyncIterator[bytes]: ...


class LinkCheckerEvents(Protocol):
    """Hears of what the link checker found."""

    async def on_link_checked(self, event: LinkCheckedEvent) -> None: ...


class UserDirectory(Protocol):
    """Who is called what. Names are for people, ids for tables."""

    async def find_users(self, names: Collection[str]) -> dict[str, DirectoryEntry]:
        """The users of these names, by the name as asked (case does not matter); unknown ones are left out."""

    async def find_names(self, user_ids: Collection[int]) -> dict[int, str]: ...


class UserManager(UserDirectory, Protocol):
    """Users, their sessions and tokens. What is not asked by name is about the actor's own account."""

    async def register(self, actor: Actor | None, request: RegisterRequest) -> User: ...
    async def admit(self, profile: ProviderProfile) -> Ticket:
        """For the user whom the provider vouched for, who is made if there is none yet."""

    async def issue_ticket(self, username: str) -> Ticket: ...
    async def login(self, username: str, auth_token: str, client: str = "") -> Session: ...
    async def logout(self, username: str, session: str) -> None: ...
    async def authenticate(self, token: str) -> Identity: ...
    async def get_user(self, actor: Actor | None, name: str) -> User: ...
    async def update_user(self, actor: Actor | None, request: UpdateUserRequest) -> User: ...
    async def list_sessions(self, actor: Actor | None) -> list[TokenRecord]: ...
    async def end_session(self, actor: Actor | None, session_id: int) -> bool:
        """Whether there was such a session."""

    async def end_sessions(self, actor: Actor | None, except_id: int | None = None) -> int:
        """How many there were, but for the one to be left."""

    async def create_token(self, actor: Actor | None, request: CreateTokenRequest) -> NewApiToken: ...
    async def list_tokens(self, actor: Actor | None) -> list[TokenRecord]: ...
    async def revoke_token(self, actor: Actor | None, token_id: int) -> bool:
        """Whether there was such a token."""

    async def get_audit_events(self, actor: Actor | None, request: PageRequest) -> AuditPage: ...
    async def record_audit_event(
        self, actor: Actor | None, event_type: AuditEventType, detail: str, client: str = ""
    ) -> None:
        """For those who saw what this service does not see."""

    async def delete_account(self, actor: Actor | None, confirm: str) -> None:
        """Closes it, and has all that any service holds of the user erased soon. ``confirm``: the user's name."""


class FollowedSource(Protocol):
    """The part of the social graph that keepers of feeds and of live news need."""

    async def get_followed(self, user_id: int, start_token: str, limit: int) -> UserPage: ...


class SocialGraphManager(UserData, Protocol):
    """Who follows whom, who asked to, and who wants nothing to do with whom."""

    async def follow(self, actor: Actor | None, request: FollowRequest) -> FollowState: ...
    async def unfollow(self, actor: Actor | None, request: FollowRequest) -> None: ...
    async def accept_follow_request(self, actor: Actor | None, request: FollowRequest) -> None: ...
    async def reject_follow_request(self, actor: Actor | None, request: FollowRequest) -> None: ...
    async def kick_follower(self, actor: Actor | None, request: FollowRequest) -> None: ...
    async def block(self, actor: Actor | None, name: str) -> None: ...
    async def unblock(self, actor: Actor | None, name: str) -> None: ...
    async def get_followers(self, actor: Actor | None, request: GetFollowRequest) -> NamePage: ...
    async def get_following(self, actor: Actor | None, request: GetFollowRequest) -> NamePage: ...
    async def get_mutuals(self, actor: Actor | None, request: GetFollowRequest) -> NamePage:
        """Those whom the actor follows and who follow the one who is asked about, who may be the actor."""

    async def get_incoming_requests(self, actor: Actor | None, request: GetFollowRequest) -> NamePage: ...
    async def get_outgoing_requests(self, actor: Actor | None, request: GetFollowRequest) -> NamePage: ...
    async def get_blocked(self, actor: Actor | None, request: GetFollowRequest) -> NamePage: ...
    async def get_follower_ids(self, user_id: int, start_token: str, limit: int) -> IdPage:
        """Of everybody, for those who tell followers something: at most ``limit`` of 1 to 10,000."""

    async def get_followed(self, user_id: int, start_token: str, limit: int) -> UserPage:
        """Those whom somebody follows, for those who keep feeds: at most ``limit`` of 1 to 1,000."""

    async def get_counts(self, actor: Actor | None, user_id: int) -> FollowCounts: ...
    async def get_relationship(self, actor: Actor | None, viewer_id: int, user_id: int) -> Relationship: ...


class News(Protocol):
    """What the people whom somebody follows did, for those who read it."""

    async def get_news(self, actor: Actor | None, request: GetNewsRequest) -> NewsPage: ...
    async def get_news_bytes(self, actor: Actor | None, request: GetNewsRequest) -> bytes:
        """The page as JSON, in the public form, for those who pass it on."""


class NewsManager(News, UserData, Protocol): ...


class LinkChecker(Protocol):
    """Whether what is linked to is there."""

    async def check_link(self, request: CheckLinkRequest) -> Verdict: ...


class LinkBatchChecker(LinkChecker, Protocol):
    def check_links(
        self, requests: Sequence[CheckLinkRequest]
    ) -> AsyncIterator[tuple[int, Verdict | DelinkciousError]]:
        """Of each by its place in ``requests``, as soon as it is known."""
