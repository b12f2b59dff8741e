"""Where events go and where they come from: NATS JetStream (``nats_bus``) or memory (``memory_bus``)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pkg.events.messages import Message


class Publisher(Protocol):
    async def publish(self, messages: Sequence[Message]) -> None:
        """Returns when all of them are kept. A repeat of an id within the stream's window is dropped.

        Raises:
            Unavailable: some may not be kept; publish all of them again.
            TooLarge: one is larger than the bus takes (``event_too_large``); nothing after it was published.
        """


class Delivery(Protocol):
    """A message that was handed to us and not yet acknowledged."""

    @property
    def message(self) -> Message:
        """Raises InvalidArgument (``malformed_event``) for what is no event of ours."""

    @property
    def subject(self) -> str: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def body(self) -> bytes: ...

    @property
    def sequence(self) -> int:
        """Its place in the stream, the same in every delivery."""

    @property
    def attempt(self) -> int:
        """1 at first."""

    @property
    def behind(self) -> int:
        """Messages of the consumer that nobody had been handed when this one was."""

    async def ack(self) -> None:
        """
        Raises:
            Unavailable: the bus is away, so that it may be delivered again; likewise below.
        """

    async def retry(self, delay: float) -> None:
        """Has it delivered again after ``delay`` seconds."""

    async def extend(self) -> None:
        """Tells that we are still at it."""


class Subscription(Protocol):
    """A durable consumer, shared by all who use its name."""

    async def fetch(self, limit: int, wait: float) -> list["Delivery"]:
        """At most ``limit``, as soon as there are any; none after ``wait`` seconds.

        Let it come to its end: of one that is cancelled, what was on its way comes again after ``ack_wait`` only.

        Raises:
            Unavailable: the bus is away; ask again later.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerSpec:
    """A durable consumer, as provisioning makes it."""

    name: str
    #: The service whose it is.
    service: str
    subjects: tuple[str, ...]
    #: Seconds until what is not acknowledged is delivered again: what a worker had in hand that died. Work may take
    #: longer, since a worker that lives says so.
    ack_wait: float = 10.0
    #: Deliveries of one message, after which it is a dead letter.
    max_deliver: int = 8
    #: Messages that may wait for their acknowledgement.
    max_pending: int = 2_000
