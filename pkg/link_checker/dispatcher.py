"""Has the links looked at that events tell of, and tells what came of it.

At least once, and a repeat changes nothing: what is told of an event has an id that follows from the event's, by which
the bus drops a repeat. Whatever came of a look is told, of trouble as well: what it makes of the link is the link
service's to say. Where there was no look, the event is delivered later; after a while it is let go, and the link
service asks anew.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from prometheus_client import Counter

from pkg.events.bus import Publisher
from pkg.events.messages import Message, read_event, write_message
from pkg.object_model.clock import Clock
from pkg.object_model.errors import DelinkciousError, InvalidArgument
from pkg.object_model.events import LinkCheckedEvent, LinkEvent, LinkEventType
from pkg.object_model.interfaces import LinkChecker
from pkg.object_model.types import CheckLinkRequest, LinkStatus, Verdict
from pkg.runtime.context import RequestContext, use_context
from pkg.runtime.logs import get_logger
from pkg.runtime.tracing import child_traceparent

#: An event older than this gets the one look that it is at, and no other.
GIVE_UP_AFTER: Final = timedelta(minutes=5)
#: Links looked at at once, on each lane.
CONCURRENCY: Final = 32
#: Events of which it is known that they are done with.
MAX_REMEMBERED: Final = 50_000

GIVEN_UP: Final = Counter(
    "delinkcious_link_checks_given_up_total", "Links that nobody looked at for as long as we asked.", ("why",)
)

_log = get_logger(__name__)


class Dispatcher:
    def __init__(
        self,
        checker: LinkChecker,
        publisher: Publisher,
        clock: Clock,
        source: str,
        *,
        concurrency: int = CONCURRENCY,
    ) -> None:
        self._checker = checker
        self._publisher = publisher
        self._clock = clock
        self._source = source
        self._slots = asyncio.Semaphore(concurrency)
        self._done: OrderedDict[int, None] = OrderedDict()

    async def dispatch(self, messages: Sequence[Message]) -> None:
        """Returns when nothing is left to be done about any of them. A repeat of the call does only what is left.

        Raises:
            InvalidArgument: one of them cannot be worked on, ever.
            DelinkciousError: the checker or the bus is away.
        """
        asked = [(message, event) for message in messages if (event := self._asks_for_check(message)) is not None]
        results = await asyncio.gather(*(self._check(message, event) for message, event in asked))
        found = [(event.id, told) for (_, event), (told, _) in zip(asked, results, strict=True) if told is not None]
        if found:
            await self._publisher.publish([told for _, told in found])
        for event_id, _ in found:
            self._remember(event_id)
        # The others first: a redelivery of this run then has only these to look at.
        for _, fault in results:
            if fault is not None:
                raise fault

    def _asks_for_check(self, message: Message) -> LinkEvent | None:
        event = read_event(message)
        if not isinstance(event, LinkEvent) or event.id in self._done:
            return None
        # What somebody else has saved before is known. An update leaves the URL as it is, or
        # comes with a call for a look, which is one that is marked.
        is_new = event.type is LinkEventType.ADDED and event.status is LinkStatus.PENDING
        is_call = is_new or (event.type is LinkEventType.UPDATED and event.bulk)
        return event if is_call else None

    async def _check(self, message: Message, event: LinkEvent) -> tuple[Message | None, DelinkciousError | None]:
        """What is to be told, or why nothing can be; neither if there is nothing more to do."""
        traceparent = child_traceparent(message.traceparent or None)
        async with self._slots:
            try:
                with use_context(RequestContext(message.request_id, traceparent)):
                    verdict = await self._checker.check_link(CheckLinkRequest(username=event.username, url=event.url))
            except InvalidArgument as fault:
                return None, fault
            except DelinkciousError as fault:
                return None, self._unless_too_old(event, fault)
        told = self._checked(event, verdict)
        return write_message(told, self._source, traceparent=traceparent, request_id=message.request_id), None

    def _checked(self, event: LinkEvent, verdict: Verdict) -> LinkCheckedEvent:
        return LinkCheckedEvent(
            id=verdict_id(event.id),
            user_id=event.user_id,
            username=event.username,
            url=event.url,
            status=verdict.status,
            checked_at=self._clock.now(),
            reason=verdict.reason,
            transient=verdict.transient,
            moved_to=verdict.moved_to,
            retry_after=verdict.retry_after,
            bulk=event.bulk and not event.urgent,
        )

    def _unless_too_old(self, event: LinkEvent, fault: DelinkciousError) -> DelinkciousError | None:
        if self._clock.now() - event.timestamp < GIVE_UP_AFTER:
            return fault
        GIVEN_UP.labels(fault.code).inc()
        _log.warning("a link is left pending", event_id=str(event.id), code=fault.code)
        self._remember(event.id)
        return None

    def _remember(self, event_id: int) -> None:
        self._done[event_id] = None
        if len(self._done) > MAX_REMEMBERED:
            self._done.popitem(last=False)


def verdict_id(event_id: int) -> int:
    """The id of what is told of an event: always the same one, and no other event's."""
    digest = hashlib.sha256(b"link-checked:%d" % event_id).digest()
    return int.from_bytes(digest[:8]) >> 1
