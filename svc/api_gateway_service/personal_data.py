"""All that is somebody's own, as files to take along: JSON for programs, HTML for people and browsers.

Of others there are names, and nothing else; of sessions and tokens what is shown of them, never themselves.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from html import escape
from typing import Final

from pkg.object_model.types import (
    MAX_PAGE_LIMIT,
    Actor,
    GetFollowRequest,
    GetLinksRequest,
    NamePage,
    PageRequest,
    TokenRecord,
    User,
)
from pkg.object_model.wire import audit_page_to_wire, link_to_wire, token_record_to_wire
from pkg.runtime.json import encode
from svc.api_gateway_service.peers import Peers
from svc.api_gateway_service.zip_stream import Member

#: Name of a file -> what is in it, in the order of the archive.
_CONTENTS: Final = {
    "account.json": "Who you are here: your names, your e-mail address, your settings.",
    "links.json": "All your links with everything that you wrote about them, newest first.",
    "bookmarks.html": "The same links as a bookmarks file, which every browser and bookmark service reads.",
    "followers.json": "The names of those who follow you.",
    "following.json": "The names of those whom you follow.",
    "follow_requests.json": "Who asks to follow you, and whom you ask.",
    "blocks.json": "The names of those whom you have blocked.",
    "sessions.json": "Where you are logged in.",
    "tokens.json": "The tokens that you have made for programs, without the tokens themselves.",
    "audit_events.json": "What happened to your account: logins, tokens, changes.",
}

#: Some things, and the token of the next ones.
type _Page = tuple[Sequence[object], str]
type _Pages = AsyncIterator[Sequence[object]]


class PersonalData:
    """Of one user. Each file is read when its turn comes, page by page."""

    def __init__(self, peers: Peers, user: User) -> None:
        self._links = peers.links
        self._users = peers.users
        self._graph = peers.social_graph
        self._user = user
        self._actor = user.ref

    def members(self) -> list[Member]:
        graph = self._graph
        contents = (
            self._account(),
            _object(("links", self._all_links())),
            self._links.export_links(self._actor, self._actor.name),
            _object(("followers", self._names(graph.get_followers))),
            _object(("following", self._names(graph.get_following))),
            _object(
                ("incoming", self._names(graph.get_incoming_requests)),
                ("outgoing", self._names(graph.get_outgoing_requests)),
            ),
            _object(("blocked", self._names(graph.get_blocked))),
            _object(("sessions", self._records(self._users.list_sessions))),
            _object(("tokens", self._records(self._users.list_tokens))),
            _object(("events", self._audit_events())),
        )
        files = [Member(name, content) for name, content in zip(_CONTENTS, contents, strict=True)]
        return [Member("index.html", self._index()), *files]

    async def _index(self) -> AsyncIterator[bytes]:
        rows = "".join(
            f'<dt><a href="{name}">{name}</a></dt><dd>{escape(what)}</dd>\n' for name, what in _CONTENTS.items()
        )
        title = f"Delinkcious: all that is {escape(self._user.name)}’s"
        yield (
            f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title></head>\n'
            f"<body>\n<h1>{title}</h1>\n<dl>\n{rows}</dl>\n</body>\n</html>\n"
        ).encode()

    async def _account(self) -> AsyncIterator[bytes]:
        user = self._user
        yield encode(
            {
                "user": {
                    "Name": user.name,
                    "DisplayName": user.display_name,
                    "Email": user.email,
                    "Private": user.private,
                    "CreatedAt": user.created_at,
                }
            }
        )

    def _all_links(self) -> _Pages:
        async def read(token: str) -> _Page:
            request = GetLinksRequest(username=self._actor.name, limit=MAX_PAGE_LIMIT, start_token=token)
            page = await self._links.get_links(self._actor, request)
            return [link_to_wire(link) for link in page.links], page.next_page_token

        return _pages(read)

    def _names(self, read_names: Callable[[Actor, GetFollowRequest], Awaitable[NamePage]]) -> _Pages:
        async def read(token: str) -> _Page:
            request = GetFollowRequest(username=self._actor.name, limit=MAX_PAGE_LIMIT, start_token=token)
            page = await read_names(self._actor, request)
            return page.names, page.next_page_token

        return _pages(read)

    def _records(self, read_all: Callable[[Actor], Awaitable[list[TokenRecord]]]) -> _Pages:
        async def read(_token: str) -> _Page:
            return [token_record_to_wire(record) for record in await read_all(self._actor)], ""

        return _pages(read)

    def _audit_events(self) -> _Pages:
        async def read(token: str) -> _Page:
            request = PageRequest(limit=MAX_PAGE_LIMIT, start_token=token)
            page = audit_page_to_wire(await self._users.get_audit_events(self._actor, request))
            return page["events"], page["NextPageToken"]

        return _pages(read)


async def _pages(read: Callable[[str], Awaitable[_Page]]) -> _Pages:
    token, is_last = "", False
    while not is_last:
        items, token = await read(token)
        yield items
        is_last = not token


async def _object(*lists: tuple[str, _Pages]) -> AsyncIterator[bytes]:
    """A JSON object of lists, each written page by page."""
    start = b"{"
    for name, pages in lists:
        yield b'%b"%b":[' % (start, name.encode())
        separator = b""
        async for page in pages:
            for item in page:
                yield separator + encode(item)
                separator = b","
        yield b"]"
        start = b","
    yield b"}"
