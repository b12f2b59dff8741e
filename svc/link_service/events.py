"""The link service's side of the bus: what it hears, and what it does unasked."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from pkg.events.consumer import Handle
from pkg.events.messages import Message, read_event
from pkg.object_model.errors import DelinkciousError, InvalidArgument
from pkg.object_model.events import LinkCheckedEvent
from pkg.object_model.interfaces import LinkCheckerEvents
from pkg.runtime.logs import get_logger

#: Seconds between two sweeps, give or take a tenth: replicas that start together must not sweep together.
SWEEP_INTERVAL: Final = 60.0

_log = get_logger(__name__)


def hear_verdicts(links: LinkCheckerEvents) -> Handle:
    async def handle(messages: Sequence[Message]) -> None:
        for message in messages:
            event = read_event(message)
            if not isinstance(event, LinkCheckedEvent):
                raise InvalidArgument(f"{message.type} is no verdict", code="malformed_event")
            await links.on_link_checked(event)

    return handle


async def sweep_for_ever(ask_again: Callable[[], Awaitable[int]], interval: float = SWEEP_INTERVAL) -> None:
    """Sweeps until it is cancelled. A sweep that fails is made up for by the next."""
    while True:
        await asyncio.sleep(interval * random.uniform(0.9, 1.1))  # noqa: S311  # not a secret
        try:
            if asked := await ask_again():
                _log.info("looks at links are due and were asked for", urls=asked)
        except DelinkciousError as error:
            _log.warning("looks at links that are due cannot be asked for", code=error.code)
