"""Events over NATS JetStream.

Streams and consumers are made by ``pkg.events.provisioning`` alone: a service publishes to its own subjects and pulls
from its own consumers, and may do nothing else. The protocol is that of https://docs.nats.io/reference/reference-protocols
and of https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-13.md (pull requests).

A connection is never resumed: what the client still held when it broke would be sent after what had to come later, and
a stream is there for its order. It is replaced by a new one, and whoever was waiting is told to try again.
"""

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from pkg.events.bus import ConsumerSpec, Delivery
from pkg.events.messages import STREAM, Message, read_message
from pkg.events.settings import NatsAddress, NatsSettings
from pkg.object_model.errors import NotFound, TooLarge, Unavailable
from pkg.runtime.json import decode, encode
from pkg.runtime.logs import get_logger
from pkg.runtime.secret import passwords_of

#: Messages that may wait for their acknowledgement at once, while publishing.
WINDOW: Final = 100
#: Seconds for the server to answer.
REPLY_TIMEOUT: Final = 5.0
#: Seconds after which a request for what is there has had it all: the server says nothing to one that it must not serve
#: because too many messages wait for their acknowledgement.
_SILENCE: Final = 1.0
_SECOND_LOOK: Final = 0.1
_CONNECT_TIMEOUT: Final = 2
#: Seconds; after two of them without an answer the connection is given up.
_PING_INTERVAL: Final = 5
#: Seconds until a connection is found to have ended of which the client says nothing.
_CLOSED_POLL: Final = 0.5
#: Seconds between two attempts to connect.
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 3.0

#: Bytes. The server counts them with the body.
_ROOM_FOR_HEADERS: Final = 4_096

_API: Final = "$JS.API"
_ACK: Final = b"+ACK"
_RETRY: Final = b"-NAK"
#: Where an answer goes: $JS.ACK.<stream>.<consumer>.<deliveries>.<place in stream>.<in consumer>.<time>.<behind>.
#: Servers with a domain put two words before the stream, and may put more at the end.
_WORDS_OF_ACK: Final = 9
_IN_PROGRESS: Final = b"+WPI"
#: What the server ends a pull request with when it has, or gets, no more.
_END_OF_PULL: Final = frozenset({"404", "408"})
_NO_RESPONDERS: Final = "503"
#: Numbers of JetStream's errors: larger than the stream takes, and no message with this number.
_MESSAGE_TOO_LARGE: Final = 10054
_NO_MESSAGE: Final = 10037

_log = get_logger(__name__)


@asynccontextmanager
async def connect_nats(settings: NatsSettings) -> "AsyncIterator[NatsBus]":
    """The bus of a service. It is there at once, even while NATS is away, and connects for ever."""
    async with open_bus(settings.nats, settings.service_name) as bus:
        yield bus


@asynccontextmanager
async def open_bus(
    address: NatsAddress, client_name: str, *, reply_timeout: float = REPLY_TIMEOUT
) -> "AsyncIterator[NatsBus]":
    """``reply_timeout``: seconds for the server's word; to what it forbids it says none."""
    bus = NatsBus(address, client_name, reply_timeout=reply_timeout)
    keeping = asyncio.create_task(bus.keep_connected(), name="nats connection")
    try:
        await bus.wait_connected(_CONNECT_TIMEOUT)
        yield bus
    finally:
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping


@dataclass(frozen=True, slots=True, eq=False)
class _Listener:
    subject: str
    heard: Callable[[bytes], None]
    missed: Callable[[], None]


class NatsBus:
    """A ``Publisher`` and ``Announcer``, and where subscriptions and announcements come from.

    Made by ``connect_nats``.
    """

    def __init__(self, address: NatsAddress, client_name: str, *, reply_timeout: float = REPLY_TIMEOUT) -> None:
        self._address = address
        self._client_name = client_name
        self._reply_timeout = reply_timeout
        self._connection: _Connection | None = None
        self._connected = asyncio.Event()
        self._subscribed: dict[str, ConsumerSpec] = {}
        self._listeners: list[_Listener] = []
        #: Why the last attempt to connect failed.
        self._fault = ""

    @property
    def refused(self) -> bool:
        """Whether NATS is there and does not let us in."""
        return self._connection is None and "Authorization" in self._fault

    async def publish(self, messages: Sequence[Message]) -> None:
        for window in itertools.batched(messages, WINDOW):
            await self.connection().publish(window)

    def subscribe(self, spec: ConsumerSpec) -> "NatsSubscription":
        self._subscribed[spec.name] = spec
        return NatsSubscription(self, spec)

    async def announce(self, subject: str, body: bytes) -> None:
        await self.connection().send(subject, body)

    async def listen(self, subject: str, heard: Callable[[bytes], None], missed: Callable[[], None]) -> None:
        listener = _Listener(subject, heard, missed)
        self._listeners.append(listener)
        if self._connection is not None:
            # If it is lost meanwhile, the next one has them all.
            with contextlib.suppress(OSError, nats.errors.Error):
                await self._connection.listen([listener])

    async def check(self) -> None:
        """Returns if events can be told, and those that were subscribed to be heard.

        Raises:
            Unavailable: NATS is away, or the stream or a consumer is missing (``events_not_provisioned``).
        """
        wanted = [f"STREAM.INFO.{STREAM}"]
        wanted += [f"CONSUMER.INFO.{STREAM}.{name}" for name in self._subscribed]
        for subject in wanted:
            await self.ask(subject)

    async def ask(self, subject: str, request: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401  # any JSON
        """What JetStream's own interface answers; a service may ask for what is its own alone.

        Raises:
            Unavailable: NATS is away or refuses, or there is no such thing (``events_not_provisioned``).
            NotFound: the stream has no such message.
        """
        return await self.connection().ask(f"{_API}.{subject}", encode(request) if request else b"")

    def connection(self) -> "_Connection":
        """
        Raises:
            Unavailable: there is none now.
        """
        if self._connection is None:
            raise _away(self._fault)
        return self._connection

    async def wait_connected(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._connected.wait(), seconds)
        return self._connected.is_set()

    async def keep_connected(self) -> None:
        """Connects, again and again, until cancelled."""
        pause, told, failures = _FIRST_PAUSE, False, 0
        while True:
            passwords = passwords_of(self._address.password)
            # While it is rotated the server knows one of two, and which one changes under us.
            connection = _Connection(
                self._address, passwords[failures % len(passwords)], self._client_name, self._reply_timeout
            )
            try:
                await connection.open()
                self._connection, pause, told, failures = connection, _FIRST_PAUSE, False, 0
                # Those that are there; who comes from now on finds the connection.
                await connection.listen(tuple(self._listeners))
                self._connected.set()
                self._fault = ""
                _log.info("connected to NATS", host=self._address.host, port=self._address.port)
                await connection.wait_closed()
                _log.warning("the connection to NATS is lost")
            except Exception as fault:  # noqa: BLE001  # whatever it is, a bus that stays away helps nobody
                failures += 1
                self._fault = str(connection.fault or fault)
                if not told:
                    told = True
                    _log.warning("cannot connect to NATS; trying on", reason=self._fault)
            finally:
                self._connection = None
                self._connected.clear()
                await connection.close()
            # Not all at once when a server comes back to many clients.
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311  # not a secret
            pause = min(_LONGEST_PAUSE, pause * 2)


class NatsSubscription:
    def __init__(self, bus: NatsBus, spec: ConsumerSpec) -> None:
        self._bus = bus
        self._next = f"{_API}.CONSUMER.MSG.NEXT.{STREAM}.{spec.name}"

    async def fetch(self, limit: int, wait: float) -> list[Delivery]:
        found = await self._pull(limit, 0)
        if not found and wait > 0:
            # One alone is waited for: a request for many would go on taking messages after we have returned.
            found = await self._pull(1, wait)
            if found and limit > 1:
                found += await self._pull_more(limit - 1)
        return [NatsDelivery(self._bus, message) for message in found]

    async def _pull(self, limit: int, wait: float) -> list[Msg]:
        return await self._bus.connection().pull(self._next, limit, wait)

    async def _pull_more(self, limit: int) -> list[Msg]:
        try:
            return await self._pull(limit, 0)
        except Unavailable:
            # What was found is handed out; the next to ask will be told.
            return []


class NatsDelivery:
    def __init__(self, bus: NatsBus, message: Msg) -> None:
        self._bus = bus
        self._message = message
        self.subject: str = message.subject
        self.headers: Mapping[str, str] = message.headers or {}
        self.body: bytes = message.data
        # Not the client's own reading of it, which makes a time and three objects of each.
        words = message.reply.split(".")
        numbers = words[4:] if len(words) == _WORDS_OF_ACK else words[6:]
        self.attempt = int(numbers[0])
        self.sequence = int(numbers[1])
        self.behind = int(numbers[4])

    @property
    def message(self) -> Message:
        return read_message(self.subject, self.headers, self.body)

    async def ack(self) -> None:
        await self._answer(_ACK)

    async def retry(self, delay: float) -> None:
        await self._answer(_RETRY + b" " + encode({"delay": int(delay * 1e9)}) if delay > 0 else _RETRY)

    async def extend(self) -> None:
        await self._answer(_IN_PROGRESS)

    async def _answer(self, word: bytes) -> None:
        # Over whatever connection there is now: the server knows the delivery by the subject of the answer.
        await self._bus.connection().send(self._message.reply, word)


class _Connection:
    """One connection, from its opening to its loss. Replies come to one inbox and are told apart by their last word."""

    def __init__(self, address: NatsAddress, password: str, client_name: str, reply_timeout: float) -> None:
        self._address = address
        self._password = password
        self._client_name = client_name
        self._reply_timeout = reply_timeout
        self._client = Client()
        self._inbox = ""
        self._numbers = itertools.count()
        self._waiting: dict[str, asyncio.Queue[Msg | None]] = {}
        self._closed = asyncio.Event()
        #: What the client last complained of. It says so nowhere else when it cannot connect.
        self.fault: Exception | None = None

    async def open(self) -> None:
        """Raises what the client raises."""
        address = self._address
        await self._client.connect(
            [address.url],
            user=address.user,
            password=self._password,
            name=self._client_name,
            inbox_prefix=f"_INBOX_{address.user}",
            allow_reconnect=False,
            # Attempts of its own would have no end; these are the fewest that it can be told.
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=_CONNECT_TIMEOUT,
            ping_interval=_PING_INTERVAL,
            error_cb=self._on_error,
            closed_cb=self._on_closed,
        )
        self._inbox = self._client.new_inbox()
        await self._client.subscribe(f"{self._inbox}.*", cb=self._on_reply)
        # So that nothing is asked for before the inbox is there.
        await self._client.flush(_CONNECT_TIMEOUT)

    async def listen(self, listeners: Sequence[_Listener]) -> None:
        """Raises what the client raises."""
        for listener in listeners:
            await self._client.subscribe(listener.subject, cb=_hearing(listener))
        # From when the server knows of them nothing is missed. The client sends the PING of a flush before what waits
        # to be sent, so that the first answer says nothing of it; the second does.
        for _ in range(2 if listeners else 0):
            await self._client.flush(_CONNECT_TIMEOUT)
        for listener in listeners:
            listener.missed()

    async def wait_closed(self) -> None:
        """Looks for itself as well: a client that cannot send what it still holds ends without a word to anybody."""
        while not self._closed.is_set() and not self._client.is_closed:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closed.wait(), _CLOSED_POLL)

    async def close(self) -> None:
        with contextlib.suppress(OSError, nats.errors.Error):
            await self._client.close()
        await self._on_closed()

    async def send(self, subject: str, payload: bytes) -> None:
        with _bus_errors():
            await self._client.publish(subject, payload)

    async def publish(self, messages: Iterable[Message]) -> None:
        """Sends all of them and waits until each is kept.

        Raises:
            Unavailable: some may not be kept.
            TooLarge: one is larger than the server takes.
        """
        with self._replies() as (word, replies):
            sent, inbox, most = 0, f"{self._inbox}.{word}", self._client.max_payload - _ROOM_FOR_HEADERS
            with _bus_errors():
                for message in messages:
                    if len(message.body) > most:
                        raise _too_large(message)
                    await self._client.publish(message.subject, message.body, reply=inbox, headers=message.headers())
                    sent += 1
            with _reply_timeout():
                async with asyncio.timeout(self._reply_timeout):
                    for _ in range(sent):
                        _read_reply(await self._reply(replies))

    async def ask(self, subject: str, request: bytes) -> Any:  # noqa: ANN401  # JSON of any shape
        with self._replies() as (word, replies):
            with _bus_errors():
                await self._client.publish(subject, request, reply=f"{self._inbox}.{word}")
            with _reply_timeout():
                async with asyncio.timeout(self._reply_timeout):
                    return _read_reply(await self._reply(replies))

    async def pull(self, subject: str, limit: int, wait: float) -> list[Msg]:
        """At most ``limit`` messages: those that are there, or with ``wait`` (seconds) those that come."""
        request: dict[str, object] = {"batch": limit}
        request |= {"expires": int(wait * 1e9)} if wait > 0 else {"no_wait": True}
        found: list[Msg] = []
        # Of this request alone: messages come under their own subject, and only the inbox tells who asked for them.
        async with self._inbox_of_one_pull() as (inbox, replies):
            with _bus_errors():
                await self._client.publish(subject, encode(request), reply=inbox)
            try:
                with _reply_timeout():
                    async with asyncio.timeout(wait + self._reply_timeout):
                        while len(found) < limit:
                            message = await self._next_of_pull(replies, None if wait > 0 else _SILENCE)
                            if message is None or _ends_pull(message):
                                break
                            found.append(message)
            except Unavailable:
                if not found:
                    raise
        return found

    async def _next_of_pull(self, replies: "asyncio.Queue[Msg | None]", patience: float | None) -> Msg | None:
        if not replies.empty():
            return _present(replies.get_nowait())
        if patience is None:
            return await self._reply(replies)
        # Twice: a process that was stopped for a while finds its time over, and what has come meanwhile not read yet.
        for seconds in (patience, _SECOND_LOOK):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    return await self._reply(replies)
        return None

    @asynccontextmanager
    async def _inbox_of_one_pull(self) -> "AsyncIterator[tuple[str, asyncio.Queue[Msg | None]]]":
        inbox = self._client.new_inbox()
        with self._replies() as (_, replies):

            async def keep(message: Msg) -> None:
                replies.put_nowait(message)

            with _bus_errors():
                subscription = await self._client.subscribe(inbox, cb=keep)
            try:
                yield inbox, replies
            finally:
                # The server forgets a request that nobody listens for any more.
                with contextlib.suppress(OSError, nats.errors.Error):
                    await subscription.unsubscribe()

    async def _reply(self, replies: "asyncio.Queue[Msg | None]") -> Msg:
        return _present(await replies.get())

    @contextmanager
    def _replies(self) -> "Iterator[tuple[str, asyncio.Queue[Msg | None]]]":
        word = str(next(self._numbers))
        replies: asyncio.Queue[Msg | None] = asyncio.Queue()
        self._waiting[word] = replies
        try:
            yield word, replies
        finally:
            del self._waiting[word]

    async def _on_reply(self, message: Msg) -> None:
        replies = self._waiting.get(message.subject.rpartition(".")[2])
        if replies is not None:
            replies.put_nowait(message)

    async def _on_error(self, fault: Exception) -> None:
        self.fault = fault
        if self._inbox:
            # The server's own words, which name a subject at most.
            _log.warning("NATS reports an error", reason=f"{type(fault).__name__}: {fault}")

    async def _on_closed(self) -> None:
        self._closed.set()
        for replies in self._waiting.values():
            replies.put_nowait(None)


def _hearing(listener: _Listener) -> Callable[[Msg], Awaitable[None]]:
    async def hear(message: Msg) -> None:
        listener.heard(message.data)

    return hear


def _present(message: Msg | None) -> Msg:
    if message is None:
        raise _away()
    return message


def _read_reply(message: Msg) -> Any:  # noqa: ANN401  # JSON of any shape
    if _status(message) == _NO_RESPONDERS:
        raise _not_provisioned()
    answer = decode(message.data)
    if "error" not in answer:
        return answer
    error = answer["error"]
    if error.get("err_code") == _MESSAGE_TOO_LARGE:
        raise TooLarge("an event is larger than its stream takes", code="event_too_large")
    if error.get("err_code") == _NO_MESSAGE:
        raise NotFound("there is no such message in the stream", code="no_such_message")
    if error.get("code") == 404:
        raise _not_provisioned()
    raise Unavailable(f"NATS refuses: {error.get('description')}", code="bus_refuses", retry_after=1)


def _ends_pull(message: Msg) -> bool:
    status = _status(message)
    if status is None:
        return False
    if status in _END_OF_PULL:
        return True
    if status == _NO_RESPONDERS:
        raise _not_provisioned()
    raise Unavailable(f"NATS refuses to deliver (status {status})", code="bus_refuses", retry_after=1)


def _status(message: Msg) -> str | None:
    return (message.headers or {}).get("Status")


@contextmanager
def _bus_errors() -> Iterator[None]:
    try:
        yield
    except nats.errors.MaxPayloadError:
        raise TooLarge("an event is larger than NATS takes", code="event_too_large") from None
    except (OSError, nats.errors.Error):
        raise _away() from None


@contextmanager
def _reply_timeout() -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise Unavailable("NATS does not answer; try again shortly", code="bus_unavailable", retry_after=1) from None


def _away(fault: str = "") -> Unavailable:
    why = f" ({fault})" if fault else ""
    return Unavailable(f"NATS cannot be reached{why}; try again shortly", code="bus_unavailable", retry_after=1)


def _not_provisioned() -> Unavailable:
    return Unavailable(
        "the stream or the consumer is missing; run cmd/provision.py", code="events_not_provisioned", retry_after=5
    )


def _too_large(message: Message) -> TooLarge:
    return TooLarge(f"the event {message.id} is larger than NATS takes", code="event_too_large")
