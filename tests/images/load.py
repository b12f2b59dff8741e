"""Requests one after the other from several clients, until whom they ask takes no more connections."""

import http.client
import threading
from collections.abc import Mapping
from typing import Final

#: Seconds for one answer.
_TIMEOUT: Final = 30.0


class Load:
    def __init__(
        self, host: str, port: int, method: str, path: str, headers: Mapping[str, str], body: str | None = None
    ) -> None:
        self._place = host, port
        self._request = method, path, body, {"Content-Type": "application/json", **headers}
        self._threads = [threading.Thread(target=self._client, daemon=True) for _ in range(4)]
        self.answered = 0
        #: What no client should see: an answer that is not 200, a connection that breaks under a request.
        self.failures: list[str] = []

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wait_until_refused(self) -> None:
        for thread in self._threads:
            thread.join(_TIMEOUT)
            assert not thread.is_alive(), "somebody still answers"

    def _client(self) -> None:
        while (connection := self._connect()) is not None:
            try:
                self._ask_until_told_to_leave(connection)
            finally:
                connection.close()

    def _connect(self) -> http.client.HTTPConnection | None:
        connection = http.client.HTTPConnection(*self._place, timeout=_TIMEOUT)
        try:
            connection.connect()
        except ConnectionError:
            return None
        return connection

    def _ask_until_told_to_leave(self, connection: http.client.HTTPConnection) -> None:
        method, path, body, headers = self._request
        first = True
        while True:
            try:
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
            except ConnectionError as fault:
                # One that nobody had accepted when the port was closed; the next attempt is refused.
                if not first:
                    self.failures.append(repr(fault))
                return
            except (OSError, http.client.HTTPException) as fault:
                self.failures.append(repr(fault))
                return
            if answer.status != http.client.OK:
                self.failures.append(f"{answer.status} {content[:200]!r}")
                return
            self.answered += 1
            first = False
            if answer.headers.get("Connection", "").lower() == "close":
                return
