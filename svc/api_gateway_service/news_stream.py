"""One stream of news: what its client is told, and when.

It looks when something has woken it: it reads the newest page of its reader's feed, on the way that every other request
takes, and tells how it differs from what was told before. So nothing is shown that the feed does not show, and what is
lost on the way is found with the next look.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple

from pkg.object_model.clock import Clock
from pkg.object_model.errors import DelinkciousError, PermissionDenied, Unauthenticated
from pkg.object_model.types import Actor, GetNewsRequest, Identity
from pkg.runtime.json import encode
from pkg.runtime.logs import get_logger
from svc.api_gateway_service.event_stream import HEARTBEAT, write_event, write_place, write_retry
from svc.api_gateway_service.feed_view import WINDOW, Entry, FeedView, entry_id

#: Entries that a client may have missed and still be told one by one.
MAX_MISSED: Final = 200
#: Seconds after which a stream looks even if nothing woke it, give or take a tenth: an announcement may be lost.
LOOK_INTERVAL: Final = 120.0
#: Seconds between two looks, so that a busy author costs no more than a slow one.
_REST: Final = 0.2
#: Seconds after which what has failed is tried again.
_PAUSE: Final = 1.0
#: Milliseconds after which clients come back, not all at once.
_RETRY: Final = (1_000, 3_000)

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamBounds:
    of_user: int
    in_all: int
    #: Seconds.
    heartbeat: float
    lifetime: float
    #: For each piece, until the client has taken it.
    write_timeout: float


class Page(NamedTuple):
    """Newest first."""

    entries: Sequence[Entry]
    goes_on: bool


class NewsStream:
    """It makes a piece when the one before was taken: what comes meanwhile only marks it."""

    def __init__(
        self,
        identity: Identity,
        confirm: Callable[[], Awaitable[Identity]],
        refresh: Callable[[], Awaitable[None]],
        read: Callable[[Actor, GetNewsRequest], Awaitable[Page]],
        clock: Clock,
        bounds: StreamBounds,
    ) -> None:
        """``confirm`` says anew who it is, ``refresh`` has it known by those whom they follow now."""
        #: Empty while it goes on, and when the client has left.
        self.end_reason = ""
        self._identity = identity
        self._confirm = confirm
        self._refresh = refresh
        self._read = read
        self._clock = clock
        self._bounds = bounds
        self._view: FeedView
        self._woken = asyncio.Event()
        self._closing = asyncio.Event()
        self._must_look = False
        self._in_doubt = False
        #: Loop times.
        self._beats_at = self._looks_at = self._ends_at = 0.0

    # --- from outside -------------------------------------------------------------------------------------------------

    def look(self) -> None:
        self._must_look = True
        self._woken.set()

    def doubt(self) -> None:
        self._in_doubt = True
        self._woken.set()

    def close(self) -> None:
        self._closing.set()
        self._woken.set()

    # --- what is sent -------------------------------------------------------------------------------------------------

    async def begin(self, place: int | None) -> bytes:
        """The first piece. Raises what reading a feed raises."""
        newest = (await self._read(self._actor, self._request(WINDOW))).entries
        self._view = FeedView(newest, place)
        if place is None:
            return _retry_hint() + write_place(self._view.place)
        missed = await self._tell(newest)
        present = encode({"Ids": [entry["Id"] for entry in newest]})
        return _retry_hint() + missed + write_event(self._view.place, present, "present")

    async def pieces(self, beginning: bytes) -> AsyncGenerator[bytes]:
        yield beginning
        now = asyncio.get_running_loop().time()
        self._beats_at = now + self._bounds.heartbeat
        self._looks_at = now + _about(LOOK_INTERVAL)
        self._ends_at = now + self._bounds.lifetime * random.uniform(0.9, 1.0)  # noqa: S311  # not a secret
        while not self.end_reason:
            await self._wait()
            if piece := await self._make_piece():
                yield piece
                self._beats_at = asyncio.get_running_loop().time() + self._bounds.heartbeat
                await self._rest(_REST)

    async def _make_piece(self) -> bytes:
        now = asyncio.get_running_loop().time()
        if self._closing.is_set() or now >= self._ends_at:
            self.end_reason = "shutdown" if self._closing.is_set() else "lifetime"
            return _retry_hint()
        beat = HEARTBEAT if now >= self._beats_at else b""
        self._in_doubt |= bool(beat)
        self._must_look |= now >= self._looks_at
        try:
            # In this order: nothing is shown until it is known to whom.
            if self._in_doubt or self._good_for() <= 0:
                await self._ask_who_it_is()
            return (await self._take_a_look() if self._must_look else b"") or beat
        except (Unauthenticated, PermissionDenied) as refusal:
            self.end_reason = "token"
            return write_event(self._view.place, encode({"err": refusal.message, "code": refusal.code}), "end")
        except DelinkciousError as fault:
            _log.info("a stream of news cannot go on now", code=fault.code)
            await self._rest(_PAUSE)
            self._woken.set()
            return beat

    async def _ask_who_it_is(self) -> None:
        self._in_doubt = True
        self._identity = await self._confirm()
        if self._good_for() <= 0:
            raise Unauthenticated("the token has expired; log in again", code="invalid_token")
        self._in_doubt = False

    async def _take_a_look(self) -> bytes:
        # Before it is read: what changes from here on wakes it again.
        self._must_look = False
        try:
            await self._refresh()
            told = await self._tell((await self._read(self._actor, self._request(WINDOW))).entries)
        except DelinkciousError:
            self._must_look = True
            raise
        self._looks_at = asyncio.get_running_loop().time() + _about(LOOK_INTERVAL)
        return told

    async def _tell(self, newest: Sequence[Entry]) -> bytes:
        """What has changed, for a client that has what the view says."""
        place = self._view.place
        missed = Page([], goes_on=False)
        if self._view.may_miss(newest):
            # Before the view changes: it may fail.
            missed = await self._read(self._actor, self._request(MAX_MISSED, since=place))
        difference = self._view.update(newest)
        told = [write_event(place, encode({"Id": str(each)}), "removed") for each in difference.gone]
        if missed.goes_on:
            reset = {"err": f"more than {MAX_MISSED} entries were missed; read GET /v1/news again", "code": "too_old"}
            told.append(write_event(place, encode(reset), "reset"))
        elif missed.entries:
            # Among the newest, what has come since they were read is told by the next look.
            between = [entry for entry in missed.entries if entry_id(entry) < entry_id(newest[-1])]
            difference = difference._replace(new=[*between[::-1], *difference.new])
        for entry in difference.new:
            # An entry that comes late must not take the client back.
            place = max(place, entry_id(entry))
            told.append(write_event(place, encode(entry)))
        return b"".join(told)

    def _request(self, limit: int, since: int | None = None) -> GetNewsRequest:
        return GetNewsRequest(username=self._actor.name, since=since, limit=limit)

    @property
    def _actor(self) -> Actor:
        return self._identity.actor

    def _good_for(self) -> float:
        """Seconds for which the token is good."""
        return (self._identity.token.expires_at - self._clock.now()).total_seconds()

    async def _wait(self) -> None:
        """Until there is something to do."""
        expires_at = asyncio.get_running_loop().time() + self._good_for()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(min(self._beats_at, self._looks_at, self._ends_at, expires_at)):
                await self._woken.wait()
        self._woken.clear()

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()


def _retry_hint() -> bytes:
    return write_retry(random.randint(*_RETRY))  # noqa: S311  # not a secret


def _about(seconds: float) -> float:
    return seconds * random.uniform(0.9, 1.1)  # noqa: S311  # not a secret
