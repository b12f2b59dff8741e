"""Runs a service: settings, logs, sockets, signals, and an orderly end.

SIGTERM or SIGINT drains: /readyz fails at once; after ``drain_delay`` no connection is accepted any more;
what is being worked on gets ``shutdown_grace`` to finish; the application's own context closes (pools,
buses); exit code 0. A second signal ends the waiting: what is still worked on is cancelled.
"""

import asyncio
import contextlib
import gc
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Final, NoReturn

import uvicorn
import uvloop
from starlette.types import ASGIApp

from pkg.runtime.http_protocol import BoundedHttpProtocol, sweep_for_ever
from pkg.runtime.http_service import HttpService
from pkg.runtime.logs import configure_logs, describe_exception, get_logger
from pkg.runtime.settings import ServiceSettings, load_settings
from pkg.runtime.start_error import StartError, tell
from pkg.runtime.watched_file import watch_files

#: Longer than any client of ours keeps an idle connection: the side that sends must give up first, or it
#: sends into a connection that is just being closed.
KEEP_ALIVE: Final = 75
BACKLOG: Final = 2_048
#: Seconds that clients with an open connection get to send what they were about to send.
LINGER: Final = 0.5
_CANCEL_GRACE: Final = 2.0
_POLL: Final = 0.02

type CreateApp[SettingsT: ServiceSettings] = Callable[[SettingsT], AbstractAsyncContextManager[ASGIApp]]

_log = get_logger(__name__)


def run_service[SettingsT: ServiceSettings](
    settings_class: type[SettingsT], create_app: CreateApp[SettingsT]
) -> NoReturn:
    """Serves until a signal says stop. Exits with 0 after an orderly end, with 1 after any other."""
    settings = load_settings(settings_class)
    configure_logs(settings.service_name, settings.log_level)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings, create_app))
    except StartError as error:
        tell(settings.service_name, *error.faults)
        sys.exit(1)
    except Exception as error:  # noqa: BLE001  # the last line that anybody will read of this process
        _log.error("the service failed", exception=describe_exception(error))
        tell(settings.service_name, f"failed: {type(error).__name__}; the log has more")
        sys.exit(1)
    sys.exit(0)


async def serve[SettingsT: ServiceSettings](settings: SettingsT, create_app: CreateApp[SettingsT]) -> None:
    """
    Raises:
        StartError: the address cannot be listened on, or the application says that it cannot start.
    """
    stop = _StopSignals()
    # The port first, so that one that is taken is told at once. Nothing is accepted until all is there.
    with stop.installed(), contextlib.closing(_bind(settings)) as listener:
        try:
            async with create_app(settings) as app:
                stop.started()
                await _serve_until_stopped(settings, app, listener, stop)
        except asyncio.CancelledError:
            if not stop.asked.is_set():
                raise
    _log.info("stopped")


async def _serve_until_stopped(
    settings: ServiceSettings, app: ASGIApp, listener: socket.socket, stop: "_StopSignals"
) -> None:
    BoundedHttpProtocol.max_connections = settings.max_connections
    host, port = listener.getsockname()[:2]
    server = _Server(
        uvicorn.Config(
            app,
            http=BoundedHttpProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=max(1, round(settings.shutdown_grace)),
        ),
        on_listening=lambda: _log.info("listening", host=host, port=port, mode=settings.mode),
    )
    # What is there after the start stays; the collector need not look at it again with every pass.
    gc.collect()
    gc.freeze()
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    sweeping = asyncio.create_task(sweep_for_ever(server.server_state.connections))
    watching = asyncio.create_task(watch_files(settings.watched_files))
    asked = asyncio.create_task(stop.asked.wait())
    try:
        await asyncio.wait((serving, asked), return_when=asyncio.FIRST_COMPLETED)
        if not serving.done():
            _log.info("draining")
            await _drain(settings, app, server, stop)
        await serving
        await _finish_cancelled(server)
    finally:
        for task in (serving, sweeping, watching, asked):
            task.cancel()


async def _drain(settings: ServiceSettings, app: ASGIApp, server: "_Server", stop: "_StopSignals") -> None:
    if isinstance(app, HttpService):
        app.begin_drain()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.asked_again.wait(), settings.drain_delay or 0.001)
    for listening in server.servers:
        listening.close()
    # uvicorn closes idle connections right away, under a request that may be on its way. Until the linger is
    # over each of them can still ask once, and is told with the answer to connect elsewhere.
    loop = asyncio.get_running_loop()
    until = loop.time() + LINGER
    # A set of uvicorn's, which tells nobody when it becomes empty.
    while server.server_state.connections and loop.time() < until and not stop.asked_again.is_set():  # noqa: ASYNC110
        await asyncio.sleep(_POLL)
    server.should_exit = True
    if stop.asked_again.is_set():
        server.force_exit = True
    else:
        stop.on_second(server.leave_now)


async def _finish_cancelled(server: "_Server") -> None:
    """Requests that outlived the grace, or a second signal, are cancelled; they still say so to their clients."""
    left = list(server.server_state.tasks)
    if not left:
        return
    if server.force_exit:
        for task in left:
            task.cancel()
    await asyncio.wait(left, timeout=_CANCEL_GRACE)


def _bind(settings: ServiceSettings) -> socket.socket:
    host, port = settings.host, settings.http_port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise StartError(f"HOST {host}: {error.strerror}") from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        what_to_do = f"free it, or set {settings.http_port_variable} to another"
        raise StartError(f"cannot listen on {host} port {port}: {error.strerror}; {what_to_do}") from None
    listener.setblocking(False)
    return listener


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_listening = on_listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # Not before: until then connections are refused.
        self._on_listening()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are ours: uvicorn's handling begins with closing, and ends with the signal raised again."""
        yield

    def leave_now(self) -> None:
        self.force_exit = True


class _StopSignals:
    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.asked_again = asyncio.Event()
        self._on_second: Callable[[], None] | None = None
        #: Cancelled by a signal that comes before anything is served.
        self._starting = asyncio.current_task()

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            loop.add_signal_handler(number, self._receive)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    def started(self) -> None:
        self._starting = None

    def on_second(self, act: Callable[[], None]) -> None:
        self._on_second = act

    def _receive(self) -> None:
        if not self.asked.is_set():
            self.asked.set()
            if self._starting is not None:
                self._starting.cancel()
            return
        self.asked_again.set()
        if self._on_second is not None:
            self._on_second()
