"""Connections to services: what is taken for an answer, what is not, and which of them are used again."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pkg.runtime.http_connection import MAX_HEAD_BYTES, ConnectionFailure, HttpConnection, write_head
from pkg.runtime.http_session import ConnectionPool, HttpSession

QUESTION = write_head("GET", "callee", "/", {})
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-One: 1\r\n\r\n{}"
#: Seconds; a test that waits longer has found a fault.
DEADLINE = 10.0

type Talk = Callable[["Line"], Awaitable[None]]


class Line:
    """The server's end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.reader = reader
        self.writer = writer
        #: Of this connection, from 1.
        self.number = number

    async def hear(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def say(self, content: bytes) -> None:
        self.writer.write(content)
        await self.writer.drain()

    async def wait_until_left(self) -> None:
        """The other end closed the connection."""
        while await self.reader.read(65_536):
            pass


@asynccontextmanager
async def speaking(talk: Talk, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """A server that says whatever it likes; its address."""
    talks: set[asyncio.Task[Any]] = set()
    count = 0

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        try:
            await talk(Line(reader, writer, count))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, host, port)
    try:
        host, port = server.sockets[0].getsockname()[:2]
        yield f"http://{host}:{port}"
    finally:
        server.close()
        async with asyncio.timeout(DEADLINE):
            await asyncio.gather(*talks)


@asynccontextmanager
async def pool_to(talk: Talk, **options: Any) -> AsyncIterator[ConnectionPool]:
    async with asyncio.timeout(DEADLINE), speaking(talk) as url, HttpSession(**options) as session:
        yield session.pool(url)


async def read_answer(connection: HttpConnection) -> tuple[int, bytes]:
    status = await connection.read_head()
    content = b""
    while piece := await connection.read():
        content += piece
    return status, content


async def ask(pool: ConnectionPool) -> tuple[int, bytes]:
    connection = await pool.take()
    try:
        connection.send(QUESTION)
        return await read_answer(connection)
    finally:
        pool.give_back(connection)


def answering(*pieces: bytes) -> Talk:
    """Says this to each question, piece by piece."""

    async def talk(line: Line) -> None:
        while True:
            await line.hear()
            for piece in pieces:
                await line.say(piece)

    return talk


def answering_once(answer: bytes) -> Talk:
    async def talk(line: Line) -> None:
        await line.hear()
        await line.say(answer)

    return talk


def counting(talk: Talk, numbers: list[int]) -> Talk:
    async def counted(line: Line) -> None:
        numbers.append(line.number)
        await talk(line)

    return counted


class FakeTransport(asyncio.Transport):
    """Takes what is sent, and can be closed."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        #: What the reader wants, change by change.
        self.reading: list[bool] = []
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    def is_closing(self) -> bool:
        return self._closing

    def abort(self) -> None:
        self._closing = True

    def pause_reading(self) -> None:
        self.reading.append(False)

    def resume_reading(self) -> None:
        self.reading.append(True)


def asked() -> HttpConnection:
    """A connection on which a question is open; what comes is up to the test."""
    connection = HttpConnection(set())
    connection.connection_made(FakeTransport())
    connection.send(QUESTION)
    return connection


# --- what is sent ---------------------------------------------------------------------------------------------------


def test_a_head() -> None:
    head = write_head("POST", "callee:80", "/users?q=a%20b", {"X-One": "1 2"})
    assert head == b"POST /users?q=a%20b HTTP/1.1\r\nHost: callee:80\r\nX-One: 1 2\r\n\r\n"


@pytest.mark.parametrize("text", ["a\rb", "a\nb", "a\r\nX-Two: 2", "a\0b", "a\x7fb", "a\x85b", "ä", "a\u2028b"])
def test_a_value_stays_within_its_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"control character|ascii"):
        write_head("GET", "callee", "/", {"X-One": text})
    with pytest.raises(ValueError, match=r"control character|ascii"):
        write_head("GET", "callee", f"/{text}", {})


def test_a_path_is_one_word() -> None:
    with pytest.raises(ValueError, match="space"):
        write_head("GET", "callee", "/ HTTP/1.1", {})


# --- what is an answer ----------------------------------------------------------------------------------------------


ANSWERS = {
    "with its length": (ANSWER, (200, b"{}")),
    "in chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\n{\r\n1\r\n}\r\n0\r\nX-Trailer: 1\r\n\r\n",
        (200, b"{}"),
    ),
    "empty": (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", (404, b"")),
    "that has no body": (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"")),
    "after another that only says to wait": (b"HTTP/1.1 100 Continue\r\nX-One: 0\r\n\r\n" + ANSWER, (200, b"{}")),
    "after hints": (b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n" * 2 + ANSWER, (200, b"{}")),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_may_come_in_any_pieces(name: str) -> None:
    answer, expected = ANSWERS[name]
    for cut in range(len(answer) + 1):
        connection = asked()
        for piece in (answer[:cut], answer[cut:]):
            if piece:
                connection.data_received(piece)
        assert await read_answer(connection) == expected
        assert connection.is_reusable
        # And the next question on the same connection, byte by byte.
        connection.send(QUESTION)
        for at in range(len(answer)):
            connection.data_received(answer[at : at + 1])
        assert await read_answer(connection) == expected
        assert connection.is_reusable


@pytest.mark.parametrize("name", ANSWERS)
async def test_half_an_answer_is_none(name: str) -> None:
    answer, _ = ANSWERS[name]
    for cut in range(len(answer)):
        connection = asked()
        if cut:
            connection.data_received(answer[:cut])
        connection.connection_lost(None)
        with pytest.raises(ConnectionFailure):
            await read_answer(connection)


async def test_headers_are_those_of_the_answer() -> None:
    connection = asked()
    connection.data_received(ANSWERS["after hints"][0])
    await read_answer(connection)
    assert connection.headers == {b"content-length": b"2", b"x-one": b"1"}
    connection.send(QUESTION)
    connection.data_received(ANSWERS["in chunks"][0])
    await read_answer(connection)
    assert connection.headers == {b"transfer-encoding": b"chunked"}


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_an_answer_without_a_length_ends_with_its_connection(version: bytes) -> None:
    connections: list[int] = []
    async with pool_to(counting(answering_once(b"HTTP/" + version + b" 200 OK\r\n\r\n{}"), connections)) as pool:
        assert await ask(pool) == (200, b"{}")
        assert await ask(pool) == (200, b"{}")
    assert connections == [1, 2]


@pytest.mark.parametrize("head", [b"", b"Content-Length: 4\r\n", b"Transfer-Encoding: gzip\r\n"])
async def test_a_connection_that_breaks_is_no_end(head: bytes) -> None:
    connection = asked()
    connection.data_received(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n{}")
    connection.connection_lost(None if head else ConnectionResetError())
    with pytest.raises(ConnectionFailure):
        await read_answer(connection)


# --- what is none ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nX-One : 1\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        ANSWER + ANSWER,
        ANSWER + b"x",
        b"HTTP/1.1 204 No Content\r\n\r\n" + ANSWER,
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}" + ANSWER,
    ],
)
async def test_what_cannot_be_trusted_is_no_answer(said: bytes) -> None:
    async with pool_to(answering(said)) as pool:
        with pytest.raises(ConnectionFailure):
            await ask(pool)


async def test_a_second_answer_is_not_given_to_the_next_question() -> None:
    connections: list[int] = []

    async def talk(line: Line) -> None:
        await line.hear()
        await line.say(ANSWER)
        if line.number == 1:
            await line.say(ANSWER.replace(b"{}", b"!!"))
            await line.wait_until_left()

    async with pool_to(counting(talk, connections)) as pool:
        connection = await pool.take()
        connection.send(QUESTION)
        assert await connection.read_head() == 200
        await connection.wait_closed()
        pool.give_back(connection)
        assert await ask(pool) == (200, b"{}")
    assert connections == [1, 2]


@pytest.mark.parametrize("said", [ANSWER.replace(b"{}", b"!!"), b"\r\n"])
async def test_what_nobody_asked_for_closes_the_connection(said: bytes) -> None:
    connections: list[int] = []

    async def talk(line: Line) -> None:
        if line.number == 1:
            await line.hear()
            await line.say(ANSWER)
            await go_on.wait()
            await line.say(said)
            await line.wait_until_left()
            left.set()
        else:
            await answering(ANSWER)(line)

    go_on, left = asyncio.Event(), asyncio.Event()
    async with pool_to(counting(talk, connections)) as pool:
        assert await ask(pool) == (200, b"{}")
        go_on.set()
        await left.wait()
        assert await ask(pool) == (200, b"{}")
    assert connections == [1, 2]


@pytest.mark.parametrize(
    "endless",
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-One: " + b"1" * 1_000 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nX-One: ", b"1" * 1_000),
        (b"HTTP/1.1 200 ", b"O" * 1_000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"\r\n" * 500),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a" * 1_000),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-One: " + b"1" * 1_000 + b"\r\n"),
    ],
)
async def test_a_head_without_end(endless: tuple[bytes, bytes]) -> None:
    said = 0

    async def talk(line: Line) -> None:
        nonlocal said
        await line.hear()
        await line.say(endless[0])
        while True:
            await line.say(endless[1])
            said += len(endless[1])

    async with pool_to(talk) as pool:
        with pytest.raises(ConnectionFailure):
            await ask(pool)
    assert said >= MAX_HEAD_BYTES


async def test_many_headers_and_a_long_body_are_an_answer() -> None:
    body = b"x" * 1_000_000
    head = b"HTTP/1.1 200 OK\r\n" + b"X-One: 1\r\n" * 1_000 + b"Transfer-Encoding: chunked\r\n\r\n"
    chunks = b"".join(b"a\r\n" + body[at : at + 10] + b"\r\n" for at in range(0, len(body), 10))
    async with pool_to(answering(head + chunks + b"0\r\n\r\n")) as pool:
        assert await ask(pool) == (200, body)
        assert await ask(pool) == (200, body)


async def test_who_does_not_read_is_not_sent_more() -> None:
    connection = HttpConnection(set())
    transport = FakeTransport()
    connection.connection_made(transport)
    connection.send(QUESTION)
    connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n" + b"x" * 200_000)
    assert transport.reading == []
    connection.data_received(b"x" * 100_000)
    assert transport.reading == [False]
    assert len(await connection.read()) == 300_000
    assert transport.reading == [False, True]


# --- what is sent in pieces -----------------------------------------------------------------------------------------


async def pieces(*content: bytes) -> AsyncIterator[bytes]:
    for piece in content:
        yield piece


async def send(connection: HttpConnection, body: AsyncIterator[bytes]) -> None:
    connection.send(write_head("POST", "callee", "/", {"Transfer-Encoding": "chunked"}), more=True)
    await connection.send_pieces(body)


async def test_a_body_in_pieces() -> None:
    heard = b""

    async def talk(line: Line) -> None:
        nonlocal heard
        await line.hear()
        heard = await line.hear()
        await line.say(ANSWER)

    async with pool_to(talk) as pool:
        connection = await pool.take()
        await send(connection, pieces(b"one", b"", b"x" * 17))
        assert await read_answer(connection) == (200, b"{}")
        assert connection.is_reusable
        pool.give_back(connection)
    assert heard == b"3\r\none\r\n11\r\n" + b"x" * 17 + b"\r\n0\r\n\r\n"


async def test_an_answer_before_the_whole_body_ends_the_connection() -> None:
    async with pool_to(answering(ANSWER)) as pool:
        connection = await pool.take()
        connection.send(write_head("POST", "callee", "/", {"Transfer-Encoding": "chunked"}), more=True)
        assert await read_answer(connection) == (200, b"{}")
        assert not connection.is_reusable
        pool.give_back(connection)
        assert not connection.is_open


async def test_who_does_not_take_a_body_is_not_sent_more() -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 100_000
            yield b"x" * 100_000

    async def talk(line: Line) -> None:
        await line.hear()
        await go_on.wait()

    go_on = asyncio.Event()
    async with pool_to(talk) as pool:
        connection = await pool.take()
        sending = asyncio.create_task(send(connection, endless()))
        before = -1
        while before != taken:
            before = taken
            await asyncio.wait((sending,), timeout=0.1)
        assert not sending.done()
        go_on.set()
        with pytest.raises(ConnectionFailure):
            await read_answer(connection)
        await sending
        pool.give_back(connection)


# --- which connections are used -------------------------------------------------------------------------------------


async def test_a_connection_is_used_again() -> None:
    connections: list[int] = []
    async with pool_to(counting(answering(ANSWER), connections)) as pool:
        for _ in range(3):
            assert await ask(pool) == (200, b"{}")
    assert connections == [1]


async def test_the_last_used_is_the_next() -> None:
    connections: list[int] = []
    async with pool_to(counting(answering(ANSWER), connections)) as pool:
        one, two = await pool.take(), await pool.take()
        for connection in (one, two):
            connection.send(QUESTION)
            await read_answer(connection)
            pool.give_back(connection)
        again = await pool.take()
        assert again is two
        pool.give_back(again)
    assert connections == [1, 2]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
async def test_who_says_close_is_left(answer: bytes) -> None:
    connections: list[int] = []
    async with pool_to(counting(answering(answer), connections)) as pool:
        assert await ask(pool) == (200, b"{}")
        assert await ask(pool) == (200, b"{}")
    assert connections == [1, 2]


async def test_who_closed_meanwhile_is_not_asked() -> None:
    connections: list[int] = []
    async with pool_to(counting(answering_once(ANSWER), connections)) as pool:
        for _ in range(3):
            connection = await pool.take()
            connection.send(QUESTION)
            assert await read_answer(connection) == (200, b"{}")
            pool.give_back(connection)
            await connection.wait_closed()
    assert connections == [1, 2, 3]


async def test_who_closes_under_a_question_is_asked_once() -> None:
    questions = 0

    async def talk(line: Line) -> None:
        nonlocal questions
        await line.hear()
        questions += 1
        await line.say(ANSWER)
        await line.hear()
        questions += 1

    async with pool_to(talk) as pool:
        await ask(pool)
        with pytest.raises(ConnectionFailure):
            await ask(pool)
    assert questions == 2


async def test_what_is_old_is_not_used() -> None:
    connections: list[int] = []

    async def talk(line: Line) -> None:
        await line.hear()
        await line.say(ANSWER)
        await line.wait_until_left()

    async with pool_to(counting(talk, connections), keep_alive=-1.0) as pool:
        await ask(pool)
        await ask(pool)
    assert connections == [1, 2]


async def test_half_read_is_not_used_again() -> None:
    connections: list[int] = []
    async with pool_to(counting(answering(ANSWER), connections)) as pool:
        connection = await pool.take()
        connection.send(QUESTION)
        assert await connection.read_head() == 200
        pool.give_back(connection)
        assert await ask(pool) == (200, b"{}")
    assert connections == [1, 2]


async def test_who_is_cancelled_leaves_no_answer_behind() -> None:
    connections: list[int] = []

    async def talk(line: Line) -> None:
        await line.hear()
        if line.number == 1:
            heard.set()
            await line.wait_until_left()
        await line.say(ANSWER)

    heard = asyncio.Event()
    async with pool_to(counting(talk, connections)) as pool:
        asking = asyncio.create_task(ask(pool))
        await heard.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert await ask(pool) == (200, b"{}")
    assert connections == [1, 2]


async def test_no_more_than_there_is_room_for() -> None:
    connections: list[int] = []
    async with pool_to(counting(answering(ANSWER), connections), max_connections=2) as pool:
        one, two = await pool.take(), await pool.take()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await pool.take()
        waiting = asyncio.create_task(ask(pool))
        pool.give_back(one)
        assert await waiting == (200, b"{}")
        pool.give_back(two)
        assert [await ask(pool) for _ in range(3)] == [(200, b"{}")] * 3
    assert connections == [1, 2]


async def test_failures_take_no_room() -> None:
    async with asyncio.timeout(DEADLINE), HttpSession(max_connections=1) as session:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            pool = session.pool(f"http://127.0.0.1:{unused.getsockname()[1]}")
            for _ in range(3):
                with pytest.raises(ConnectionFailure):
                    await pool.take()
    async with pool_to(answering(b"?"), max_connections=1) as pool:
        for _ in range(3):
            with pytest.raises(ConnectionFailure):
                await ask(pool)


async def test_a_name_that_leads_nowhere() -> None:
    async def find_none(host: str, port: int) -> list[tuple[str, int]]:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    async with HttpSession(find_addresses=find_none) as session:
        with pytest.raises(ConnectionFailure):
            await session.pool("http://nobody:80").take()


async def test_one_of_many_that_is_away_is_passed_over() -> None:
    asked_for: list[tuple[str, int]] = []
    connections: list[int] = []

    async def find(host: str, port: int) -> list[tuple[str, int]]:
        asked_for.append((host, port))
        return [unused.getsockname(), ("127.0.0.1", there)]

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with (
            asyncio.timeout(DEADLINE),
            speaking(counting(answering(ANSWER), connections)) as url,
            HttpSession(find_addresses=find) as session,
        ):
            there = int(url.rpartition(":")[2])
            pool = session.pool("http://callee:80")
            one, two = await pool.take(), await pool.take()
            for connection in (one, two):
                connection.send(QUESTION)
                assert await read_answer(connection) == (200, b"{}")
                pool.give_back(connection)
    # Anew for each connection.
    assert asked_for == [("callee", 80)] * 2
    assert connections == [1, 2]


async def test_connections_are_spread_over_the_addresses_of_a_name() -> None:
    one: list[int] = []
    two: list[int] = []

    async def find(host: str, port: int) -> list[tuple[str, int]]:
        return [("127.0.0.1", int(url.rpartition(":")[2])) for url in (first, second)]

    closing = ANSWER.replace(b"X-One: 1", b"Connection: close")
    async with (
        asyncio.timeout(DEADLINE),
        speaking(counting(answering_once(closing), one)) as first,
        speaking(counting(answering_once(closing), two)) as second,
        HttpSession(find_addresses=find) as session,
    ):
        # All on one side by chance: once in a trillion runs.
        for _ in range(40):
            await ask(session.pool("http://callee:80"))
    assert one
    assert two
    assert len(one) + len(two) == 40


async def test_names_are_looked_up() -> None:
    async with asyncio.timeout(DEADLINE), speaking(answering(ANSWER)) as url, HttpSession() as session:
        assert await ask(session.pool(url.replace("127.0.0.1", "localhost"))) == (200, b"{}")


async def test_one_callee_has_one_pool() -> None:
    async with HttpSession() as session:
        assert session.pool("http://a:1") is session.pool("http://a:1")
        assert session.pool("http://a:1") is not session.pool("http://a:2")


async def test_the_end_closes_all() -> None:
    left = 0

    async def talk(line: Line) -> None:
        nonlocal left
        await line.hear()
        await line.say(ANSWER)
        await line.wait_until_left()
        left += 1

    async with speaking(talk) as url:
        async with HttpSession() as session:
            pool = session.pool(url)
            idle, used = await pool.take(), await pool.take()
            for connection in (idle, used):
                connection.send(QUESTION)
                await read_answer(connection)
            pool.give_back(idle)
        # Before the loop ends: a transport that is still open then says so on standard error.
        assert idle._lost.is_set()
        assert used._lost.is_set()
    assert left == 2
