"""One question over HTTP/2 (RFC 9113), for servers that speak nothing else. Of the answer, its head alone is read."""

import asyncio
import socket
import ssl
from typing import Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, ResponseReceived, StreamReset
from h2.exceptions import ProtocolError
from yarl import URL

#: Bytes of what a server says before it answers.
MAX_READ: Final = 256 * 1024

type Head = tuple[int, dict[str, str]]


class NoHttp2(Exception):
    """The server does not speak it, or makes no sense in it."""


async def ask_http2(
    connected: socket.socket, tls: ssl.SSLContext, method: str, url: URL, headers: dict[str, str]
) -> Head:
    """Status and headers. Closes the socket.

    Raises:
        NoHttp2: there is no answer in HTTP/2.
        OSError: the connection broke, or its TLS failed.
    """
    reader, writer = await asyncio.open_connection(
        sock=connected, ssl=tls, server_hostname=url.raw_host, limit=MAX_READ
    )
    try:
        if writer.get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
            raise NoHttp2
        return await _converse(reader, writer, method, url, headers)
    except ProtocolError as fault:
        raise NoHttp2 from fault
    finally:
        writer.transport.abort()


async def _converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, method: str, url: URL, headers: dict[str, str]
) -> Head:
    talk = H2Connection(H2Configuration(client_side=True, header_encoding="latin-1"))
    talk.initiate_connection()
    stream = talk.get_next_available_stream_id()
    talk.send_headers(
        stream,
        [
            (":method", method),
            (":authority", url.raw_authority if url.explicit_port else url.raw_host or ""),
            (":scheme", url.scheme),
            (":path", url.raw_path_qs),
            *((name.lower(), value) for name, value in headers.items()),
        ],
        end_stream=True,
    )
    read = 0
    while read < MAX_READ:
        writer.write(talk.data_to_send())
        await writer.drain()
        data = await reader.read(16_384)
        if not data:
            break
        read += len(data)
        for event in talk.receive_data(data):
            if isinstance(event, ResponseReceived):
                answer = {str(name): str(value) for name, value in event.headers or ()}
                return int(answer[":status"]), answer
            if isinstance(event, StreamReset | ConnectionTerminated):
                raise NoHttp2
    raise NoHttp2
