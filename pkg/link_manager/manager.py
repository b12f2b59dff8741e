"""The rules of links: who may do what, what can be saved, what a page is."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Final

from pkg.link_manager.archive import DEFAULT_TEMPLATE, archived_url
from pkg.link_manager.bookmark_file import write_bookmark, write_head, write_tail
from pkg.link_manager.checks import may_look_again, weigh
from pkg.link_manager.imports import (
    MAX_DESCRIPTION_LENGTH,
    MAX_TITLE_LENGTH,
    UNSTORABLE,
    make_report,
    merge_into_saved,
    read_plan,
)
from pkg.link_manager.regex import parse_regex
from pkg.link_manager.store import (
    ASK_AGAIN_AFTER,
    AnsweredBeforeError,
    Audience,
    Candidate,
    DueCheck,
    ImportNews,
    ImportOutcome,
    LinkQuery,
    LinkStore,
    Move,
    Once,
    Place,
)
from pkg.link_manager.tags import MAX_TAGS, merge_tags, parse_sought, parse_tags, remove_tags, too_many_tags
from pkg.link_manager.urls import SavedUrl, parse_url
from pkg.link_manager.words import parse_search
from pkg.object_model import interfaces
from pkg.object_model.clock import Clock, IdGenerator
from pkg.object_model.erasure import erase_part
from pkg.object_model.errors import (
    Conflict,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    TooLarge,
    Unavailable,
)
from pkg.object_model.events import LinkCheckedEvent, LinkEvent, LinkEventType
from pkg.object_model.interfaces import SocialGraphManager, UserDirectory
from pkg.object_model.paging import check_page_limit, decode_page_token, encode_page_token
from pkg.object_model.types import (
    DEFAULT_MAX_LINKS_PER_USER,
    MAX_IMPORT_BYTES,
    Actor,
    AddLinkRequest,
    CheckLinkRequest,
    GetLinksRequest,
    GetTagsRequest,
    ImportReport,
    ImportRequest,
    Link,
    LinkCount,
    LinkHistory,
    LinkPage,
    LinkStatus,
    MoveLinkRequest,
    Relationship,
    SharedLink,
    StatusCount,
    TagPage,
    UpdateLinkRequest,
    Visibility,
)
from pkg.object_model.wire import (
    import_report_from_wire,
    import_report_to_wire,
    link_from_wire,
    link_to_wire,
)

MAX_IDEMPOTENCY_KEY_LENGTH: Final = 255
#: For so long a repeat gets the first answer.
ANSWER_LIFETIME: Final = timedelta(hours=24)

#: Checks that are asked for in one transaction, and the transactions of one sweep.
ASK_BATCH: Final = 500
ASK_BATCHES: Final = 20
#: Changes of status that are added up in one transaction, and the transactions of one sweep.
ADD_UP_BATCH: Final = 10_000
ADD_UP_BATCHES: Final = 20

#: Links of many users that one call reads.
MAX_SHARED_LINKS: Final = 1_000

#: Files read at once; each may take a hundred megabytes of memory.
_IMPORTS_AT_ONCE: Final = 2
#: Bytes of a file that are kept in memory; the rest goes to disk.
_SPOOL: Final = 1024 * 1024
#: Links that an export reads at once.
_EXPORT_PAGE: Final = 500
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class LinkManager(interfaces.LinkManager, interfaces.LinkCheckerEvents):
    def __init__(
        self,
        store: LinkStore,
        users: UserDirectory,
        social_graph: SocialGraphManager,
        clock: Clock,
        ids: IdGenerator,
        *,
        max_links_per_user: int = DEFAULT_MAX_LINKS_PER_USER,
        archive_template: str = DEFAULT_TEMPLATE,
    ) -> None:
        """``archive_template``: a parsed one (see ``archive``); empty for no archive."""
        self._store = store
        self._users = users
        self._social_graph = social_graph
        self._clock = clock
        self._ids = ids
        self._max_links = max_links_per_user
        self._archive_template = archive_template
        self._importing = asyncio.Semaphore(_IMPORTS_AT_ONCE)

    # --- reading ------------------------------------------------------------------------------------------------------

    async def get_links(self, actor: Actor | None, request: GetLinksRequest) -> LinkPage:
        limit = check_page_limit(request.limit)
        words = parse_search(request.q) if request.q else ()
        filters = {
            name: parse_regex(pattern, f"{name}_regex") if pattern else None
            for name, pattern in (
                ("url", request.url_regex),
                ("title", request.title_regex),
                ("description", request.description_regex),
            )
        }
        owner_id, audience = await self._look(actor, request.username)
        scope = (
            "links",
            owner_id,
            request.url_regex,
            request.title_regex,
            request.description_regex,
            parse_sought(request.tag),
            " ".join(words),
            request.visibility or "",
            request.status or "",
            # Left out where there is none: a token of before is good still.
            *filter(None, [request.status_reason]),
        )
        query = LinkQuery(
            user_id=owner_id,
            audience=audience,
            # One more than asked for tells whether there is another page.
            limit=limit + 1,
            tag_key=parse_sought(request.tag) or None,
            visibility=request.visibility,
            status=request.status,
            status_reason=request.status_reason or None,
            words=words,
            after=_read_place(request.start_token, scope),
            **filters,
        )
        found = await self._store.find_links(query)
        token = ""
        if len(found) > limit:
            del found[limit:]
            link, score = found[-1]
            token = encode_page_token(scope, (score, _microseconds(link.created_at), link.id))
        return LinkPage([self._show(link) for link, _ in found], token)

    async def get_tags(self, actor: Actor | None, request: GetTagsRequest) -> TagPage:
        limit = check_page_limit(request.limit)
        owner_id, audience = await self._look(actor, request.username)
        prefix = parse_sought(request.prefix)
        scope = ("tags", owner_id, prefix)
        position = decode_page_token(request.start_token, scope, (str,))
        after = str(position[0]) if position else None
        found = await self._store.find_tags(owner_id, audience, prefix, after, limit + 1)
        token = ""
        if len(found) > limit:
            del found[limit:]
            token = encode_page_token(scope, (found[-1][0],))
        return TagPage([tag for _, tag in found], token)

    async def get_shared_links(
        self, user_ids: Collection[int], limit: int, changed_after: datetime | None = None
    ) -> list[SharedLink]:
        """
        Raises:
            InvalidArgument: ``invalid_limit`` below 1, or where all together could be more than MAX_SHARED_LINKS.
        """
        if not 1 <= limit * max(1, len(user_ids)) <= MAX_SHARED_LINKS:
            raise InvalidArgument(
                f"limit must be at least 1, and limit times users {MAX_SHARED_LINKS} at most; ask for fewer",
                code="invalid_limit",
            )
        return await self._store.find_shared([*user_ids], limit, changed_after or _EPOCH)

    async def count_links(self, actor: Actor | None, username: str) -> LinkCount:
        owner_id, audience = await self._look(actor, username)
        count = await self._store.count_links(owner_id, audience)
        statuses = await self._store.count_statuses(owner_id) if audience is Audience.OWNER else []
        dead = sum(row.count for row in statuses if row.status is LinkStatus.INVALID)
        return LinkCount(count, self._max_links, dead)

    async def count_statuses(self, actor: Actor | None, username: str) -> list[StatusCount]:
        return await self._store.count_statuses(_check_reader(actor, username).user_id)

    async def get_link_history(self, actor: Actor | None, username: str, url: str) -> LinkHistory:
        owner = _check_reader(actor, username)
        history = await self._store.find_history(owner.user_id, parse_url(url).key)
        if history is None:
            raise _no_such_link()
        return replace(history, link=self._show(history.link))

    async def export_links(self, actor: Actor | None, username: str) -> AsyncIterator[bytes]:
        owner_id, audience = await self._look(actor, username)
        yield write_head()
        after: tuple[datetime, int] | None = None
        while links := await self._store.read_oldest_first(owner_id, audience, after, _EXPORT_PAGE):
            yield b"".join(map(write_bookmark, links))
            after = links[-1].created_at, links[-1].id
        yield write_tail()

    async def _look(self, actor: Actor | None, username: str) -> tuple[int, Audience]:
        """Whose links they are, and as whom the actor sees them.

        Raises:
            NotFound: there is no such user, or one of the two has blocked the other (``user_not_found``).
        """
        if actor is not None and actor.name.casefold() == username.casefold():
            return actor.user_id, Audience.OWNER
        owner = (await self._users.find_users([username])).get(username)
        if owner is None:
            raise NotFound("there is no such user; check the name", code="user_not_found")
        relationship = Relationship.NONE
        if actor is not None:
            relationship = await self._social_graph.get_relationship(actor, actor.user_id, owner.user_id)
        match relationship:
            case Relationship.SELF:
                return owner.user_id, Audience.OWNER
            case Relationship.FOLLOWING:
                return owner.user_id, Audience.FOLLOWER
            case _:
                return owner.user_id, Audience.NOBODY if owner.private else Audience.STRANGER

    async def _keep(self, user_id: int, once: Once, act: Callable[[], Awaitable[Link]]) -> Link:
        """What ``act`` gives, or gave when the promise was kept."""
        answer = await self._store.recall_answer(user_id, once)
        if answer is None:
            try:
                return await act()
            except (AnsweredBeforeError, Conflict, NotFound):
                # The same request may have come twice at once.
                answer = await self._store.recall_answer(user_id, once)
                if answer is None:
                    raise
        return link_from_wire(json.loads(answer))

    def _show(self, link: Link) -> Link:
        if link.status is not LinkStatus.INVALID or not self._archive_template:
            return link
        return replace(link, archived_url=archived_url(self._archive_template, link.url))

    # --- changing -----------------------------------------------------------------------------------------------------

    async def add_link(self, actor: Actor | None, request: AddLinkRequest) -> Link:
        owner = _check_owner(actor, request.username)
        url = parse_url(request.url)
        now = self._clock.now()
        link = Link(
            id=self._ids.new_id(),
            url=url.text,
            title=_check_text("title", request.title, MAX_TITLE_LENGTH),
            description=_check_text("description", request.description, MAX_DESCRIPTION_LENGTH),
            status=LinkStatus.PENDING,
            tags=parse_tags(request.tags),
            created_at=now,
            updated_at=now,
            visibility=request.visibility or Visibility.PUBLIC,
            version=0,
        )
        event = self._tell(LinkEventType.ADDED, owner, link, now)
        if not request.idempotency_key:
            return self._show(await self._store.add_link(owner.user_id, url.key, link, self._max_links, event))
        fingerprint = _digest("add", url.text, link.title, link.description, link.visibility, *link.tags)
        once = _promise(request.idempotency_key, fingerprint, now, link_to_wire)

        async def add() -> Link:
            return await self._store.add_link(owner.user_id, url.key, link, self._max_links, event, once)

        return self._show(await self._keep(owner.user_id, once, add))

    async def update_link(self, actor: Actor | None, request: UpdateLinkRequest) -> Link:
        owner = _check_owner(actor, request.username)
        url = parse_url(request.url)
        title = None if request.title is None else _check_text("title", request.title, MAX_TITLE_LENGTH)
        description = request.description
        if description is not None:
            _check_text("description", description, MAX_DESCRIPTION_LENGTH)
        elif request.clear_description:
            description = ""
        added, gone = parse_tags(request.add_tags), parse_tags(request.remove_tags)

        def change(link: Link) -> Link:
            _check_version(link, request.if_version)
            tags = merge_tags(remove_tags(link.tags, gone), added)
            if len(tags) > MAX_TAGS and len(tags) > len(link.tags):
                raise too_many_tags()
            changed = replace(
                link,
                title=link.title if title is None else title,
                description=link.description if description is None else description,
                visibility=request.visibility or link.visibility,
                tags=tags,
            )
            if changed == link:
                return link
            # Never before the last change, whatever the clock did in between.
            now = max(self._clock.now(), link.updated_at)
            return replace(changed, updated_at=now, version=link.version + 1)

        def tell(changed: Link) -> LinkEvent:
            return self._tell(LinkEventType.UPDATED, owner, changed, changed.updated_at)

        changed = await self._store.change_link(owner.user_id, url.key, change, tell)
        if changed is None:
            raise _no_such_link()
        return self._show(changed)

    async def move_link(self, actor: Actor | None, request: MoveLinkRequest) -> Link:
        owner = _check_owner(actor, request.username)

        def find_place(link: Link) -> SavedUrl:
            _check_version(link, request.if_version)
            return _find_place(link)

        def merge(link: Link, place: SavedUrl, other: Link | None) -> Link:
            merged = replace(link, url=place.text)
            if other is not None:
                merged = _unite(merged, other)
            # Never before the last change, whatever the clock did in between.
            times = (self._clock.now(), link.updated_at, *([other.updated_at] if other else []))
            return replace(merged, updated_at=max(times))

        def tell(moved: Link, ended: Link | None) -> list[LinkEvent]:
            now = moved.updated_at
            told = [self._tell(LinkEventType.DELETED, owner, ended, now)] if ended else []
            told.append(self._tell(LinkEventType.UPDATED, owner, moved, now))
            if moved.checked_at is None:
                # An update by itself is no call for a check.
                told.append(self._call_for_check(owner, moved, now))
            return told

        url = parse_url(request.url)
        once: Once | None = None

        async def move() -> Link:
            moved = await self._store.move_link(owner.user_id, url.key, Move(find_place, merge, tell), once)
            if moved is None:
                raise _no_such_link()
            return moved

        if not request.idempotency_key:
            return self._show(await move())
        fingerprint = _digest("move", url.text, request.if_version)
        once = _promise(request.idempotency_key, fingerprint, self._clock.now(), link_to_wire)
        return self._show(await self._keep(owner.user_id, once, move))

    async def delete_link(self, actor: Actor | None, username: str, url: str) -> bool:
        owner = _check_owner(actor, username)

        def tell(deleted: Link) -> LinkEvent:
            now = max(self._clock.now(), deleted.updated_at)
            return self._tell(LinkEventType.DELETED, owner, deleted, now)

        return await self._store.delete_link(owner.user_id, parse_url(url).key, tell)

    async def import_links(
        self, actor: Actor | None, request: ImportRequest, content: AsyncIterator[bytes]
    ) -> ImportReport:
        owner = _check_owner(actor, request.username)
        async with self._importing:
            with SpooledTemporaryFile(max_size=_SPOOL) as file:
                digest = await _spool(content, file)
                return await self._import(owner, request, file, digest)

    async def _import(
        self, owner: Actor, request: ImportRequest, file: IO[bytes], content_digest: bytes
    ) -> ImportReport:
        now = self._clock.now()
        once = None
        if request.idempotency_key:
            fingerprint = _digest("import", content_digest.hex(), request.visibility, request.folders_as_tags)
            once = _promise(request.idempotency_key, fingerprint, now, import_report_to_wire)
            if answer := await self._store.recall_answer(owner.user_id, once):
                return import_report_from_wire(json.loads(answer))
        plan = await asyncio.to_thread(read_plan, file, request, now, self._ids)
        import_id = self._ids.new_id()
        if once is not None:
            encode = once.encode
            once = replace(once, encode=lambda outcomes: encode(make_report(import_id, plan, outcomes)))
        try:
            outcomes = await self._store.import_links(
                owner.user_id,
                plan.candidates,
                self._max_links,
                lambda saved, candidate: merge_into_saved(saved, candidate, now),
                self._news_of_import(owner, plan.candidates, now),
                once,
            )
        except AnsweredBeforeError:
            answer = await self._store.recall_answer(owner.user_id, once) if once else None
            if answer is None:
                raise Unavailable("the same import runs already; try again", code="try_again", retry_after=1) from None
            return import_report_from_wire(json.loads(answer))
        # Of a large file, too long a piece of work for a loop that serves others.
        return await asyncio.to_thread(make_report, import_id, plan, outcomes)

    # --- telling ------------------------------------------------------------------------------------------------------

    def _tell(
        self,
        event_type: LinkEventType,
        owner: Actor,
        link: Link,
        now: datetime,
        *,
        bulk: bool = False,
        urgent: bool = False,
    ) -> LinkEvent:
        return LinkEvent(
            id=self._ids.new_id(),
            type=event_type,
            user_id=owner.user_id,
            username=owner.name,
            timestamp=now,
            url=link.url,
            link_id=link.id,
            version=link.version,
            title=link.title,
            description=link.description,
            tags=link.tags,
            status=link.status,
            visibility=link.visibility,
            bulk=bulk,
            urgent=urgent,
        )

    def _call_for_check(self, owner: Actor, link: Link, now: datetime) -> LinkEvent:
        return self._tell(LinkEventType.UPDATED, owner, link, now, bulk=True, urgent=True)

    def _news_of_import(self, owner: Actor, candidates: Sequence[Candidate], now: datetime) -> ImportNews:
        def tell(outcome: ImportOutcome, link: Link) -> LinkEvent:
            event_type = LinkEventType.ADDED if outcome is ImportOutcome.IMPORTED else LinkEventType.UPDATED
            return self._tell(event_type, owner, link, now, bulk=True)

        def sum_up(outcomes: Sequence[ImportOutcome]) -> LinkEvent | None:
            """Of what others may see of it."""
            seen = [
                candidate.link.visibility
                for candidate, outcome in zip(candidates, outcomes, strict=True)
                if outcome is ImportOutcome.IMPORTED and candidate.link.visibility is not Visibility.PRIVATE
            ]
            if not seen:
                return None
            return LinkEvent(
                id=self._ids.new_id(),
                type=LinkEventType.IMPORTED,
                user_id=owner.user_id,
                username=owner.name,
                timestamp=now,
                visibility=Visibility.PUBLIC if Visibility.PUBLIC in seen else Visibility.FOLLOWERS,
                count=len(seen),
            )

        return ImportNews(now, tell, sum_up)

    # --- checks -------------------------------------------------------------------------------------------------------

    async def on_link_checked(self, event: LinkCheckedEvent) -> None:
        """Weighs the look, for all who saved the URL, unless a later one is known.

        Raises:
            InvalidArgument: its URL is none that can be saved.
        """
        url_key = parse_url(event.url).key
        # One from the future would stand for ever.
        look = replace(event, checked_at=min(event.checked_at, self._clock.now()))
        await self._store.keep_check(url_key, look.checked_at, lambda known: weigh(known, look, url_key))

    async def ask_for_check(self, actor: Actor | None, request: CheckLinkRequest) -> Link:
        owner = _check_owner(actor, request.username)
        now = self._clock.now()
        link = await self._store.ask_for_one(
            owner.user_id,
            parse_url(request.url).key,
            now,
            lambda known, asked_at: may_look_again(known, asked_at, now),
            lambda link: self._call_for_check(owner, link, now),
        )
        if link is None:
            raise _no_such_link()
        return self._show(link)

    async def ask_again(self) -> int:
        """Asks for the checks that are due; of how many URLs. Those of which nothing was heard are among them.

        Each is asked for once, however many saved it and whoever else sweeps. What changed is added up as well.
        """
        asked = 0
        async with self._store.sweep_alone() as alone:
            for _ in range(ASK_BATCHES if alone else 0):
                now = self._clock.now()
                late = await self._store.schedule_late(now - ASK_AGAIN_AFTER, now, ASK_BATCH)
                due = await self._store.find_due(now, ASK_BATCH)
                asked += await self._ask_for(due, now)
                if max(late, len(due)) < ASK_BATCH:
                    break
            for _ in range(ADD_UP_BATCHES if alone else 0):
                if await self._store.add_up_statuses(ADD_UP_BATCH) < ADD_UP_BATCH:
                    break
        return asked

    async def _ask_for(self, due: Sequence[DueCheck], now: datetime) -> int:
        if not due:
            return 0
        names = await self._users.find_names({check.user_id for check in due if check.user_id is not None})

        def tell(user_id: int, link: Link) -> LinkEvent | None:
            if user_id not in names:
                return None
            return self._tell(LinkEventType.UPDATED, Actor(user_id, names[user_id]), link, now, bulk=True)

        return await self._store.ask_for(due, now, tell)

    # --- leaving ------------------------------------------------------------------------------------------------------

    async def erase_user(self, user_id: int, start_token: str) -> str:
        """Raises InvalidArgument (``invalid_start_token``)."""
        return await erase_part(self._store.erase_user, user_id, start_token)


def _check_owner(actor: Actor | None, username: str) -> Actor:
    """Raises PermissionDenied unless the links of ``username`` are the actor's own."""
    if actor is None or actor.name.casefold() != username.casefold():
        raise PermissionDenied("only the owner of links may change them", code="not_yours")
    return actor


def _check_reader(actor: Actor | None, username: str) -> Actor:
    """Raises PermissionDenied unless the links of ``username`` are the actor's own."""
    if actor is None or actor.name.casefold() != username.casefold():
        raise PermissionDenied("only the owner of links may see this", code="not_yours")
    return actor


def _no_such_link() -> NotFound:
    return NotFound("there is no such link; add it first", code="link_not_found")


def _check_version(link: Link, if_version: int | None) -> None:
    if if_version is not None and if_version != link.version:
        raise PreconditionFailed(
            f"the link is at version {link.version}, not {if_version}; read it again", code="version_mismatch"
        )


def _find_place(link: Link) -> SavedUrl:
    """Where its page is now. Raises Conflict (``link_not_moved``)."""
    if not link.moved_to:
        raise Conflict("the page of this link has no new address; change its URL yourself", code="link_not_moved")
    try:
        return parse_url(link.moved_to)
    except InvalidArgument as fault:
        raise Conflict(
            f"the new address of the page cannot be saved ({fault.code}); save what you need by hand",
            code="link_not_moved",
        ) from None


def _unite(link: Link, other: Link) -> Link:
    """``link`` with all that is said of the other, seen by those alone who see both.

    Raises:
        InvalidArgument: together they have too much (``too_many_tags``, ``description_too_long``).
    """
    tags = merge_tags(link.tags, other.tags)
    if len(tags) > MAX_TAGS:
        raise InvalidArgument(
            f"with the link that is there it would have more than {MAX_TAGS} tags; remove some", code="too_many_tags"
        )
    title = link.title or other.title
    more = [text for text in (other.title, other.description) if text not in (title, link.description)]
    description = "\n\n".join(filter(None, [link.description, *more]))
    return replace(
        link,
        title=title,
        description=_check_text("description", description, MAX_DESCRIPTION_LENGTH),
        tags=tags,
        visibility=max(link.visibility, other.visibility, key=list(Visibility).index),
    )


def _check_text(argument: str, text: str, limit: int) -> str:
    if len(text) > limit:
        raise InvalidArgument(
            f"{argument} has at most {limit} characters, not {len(text)}; shorten it", code=f"{argument}_too_long"
        )
    if UNSTORABLE.search(text):
        raise InvalidArgument(f"{argument} has characters in it that are no text; remove them", code="invalid_text")
    return text


def _microseconds(time: datetime) -> int:
    return (time - _EPOCH) // _MICROSECOND


def _read_place(token: str, scope: tuple[object, ...]) -> Place | None:
    position = decode_page_token(token, scope, (int, int, int))
    if position is None:
        return None
    score, microseconds, link_id = map(int, position)
    try:
        return Place(score, _EPOCH + timedelta(microseconds=microseconds), link_id)
    except OverflowError:
        raise InvalidArgument("start_token is damaged; leave it out", code="invalid_start_token") from None


def _promise(key: str, fingerprint: bytes, now: datetime, to_wire: Callable[[Any], dict[str, Any]]) -> Once:
    if len(key) > MAX_IDEMPOTENCY_KEY_LENGTH:
        raise InvalidArgument(
            f"the idempotency key has at most {MAX_IDEMPOTENCY_KEY_LENGTH} characters", code="invalid_idempotency_key"
        )
    return Once(
        key=_digest(key),
        fingerprint=fingerprint,
        now=now,
        not_before=now - ANSWER_LIFETIME,
        encode=lambda result: json.dumps(to_wire(result), default=datetime.isoformat, separators=(",", ":")),
    )


def _digest(*parts: object) -> bytes:
    return hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).digest()


async def _spool(content: AsyncIterator[bytes], file: IO[bytes]) -> bytes:
    """The digest of what it wrote. Raises TooLarge beyond MAX_IMPORT_BYTES."""
    digest = hashlib.sha256()
    size = 0
    async for piece in content:
        size += len(piece)
        if size > MAX_IMPORT_BYTES:
            raise TooLarge(f"the file is larger than {MAX_IMPORT_BYTES} bytes; split it")
        digest.update(piece)
        file.write(piece)
    file.seek(0)
    return digest.digest()
