"""The edges of a service: with what it goes out and whom it lets in, also after their secrets have changed."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from pkg.object_model.errors import DelinkciousError
from pkg.object_model.types import Actor
from pkg.runtime.caller_auth import CALLER_TOKEN_HEADER, CallerAuth, EdgeCredentials
from pkg.runtime.http_session import HttpSession
from pkg.runtime.logs import logs_written_to
from pkg.runtime.mutual_auth import EdgeSecret, new_secret, render_edge
from pkg.runtime.peers import check_callers, connect_peer, peer_credentials
from pkg.runtime.settings import Mode, ServiceAddress, ServiceSettings
from pkg.runtime.start_error import StartError
from tests.fakes import FakeClock

ADDRESS = ServiceAddress(host="127.0.0.1", port=1)
ALICE = Actor(7, "alice")
CLOCK = FakeClock()


class Caller(ServiceSettings):
    service_name: ClassVar[str] = "link-manager"


class Callee(ServiceSettings):
    service_name: ClassVar[str] = "user-manager"


class Values:
    def __init__(self) -> None:
        self.old, self.new = new_secret(), new_secret()

    def named(self, names: Sequence[str]) -> list[str]:
        return [{"old": self.old, "new": self.new}[name] for name in names]


class Edge:
    """link-manager -> user-manager, with a file at both ends."""

    def __init__(self, folder: Path) -> None:
        self.token, self.key = Values(), Values()
        self.caller_file, self.callee_file = folder / "caller.yaml", folder / "callee.yaml"
        self.write("old")
        settings = Caller(mode=Mode.LOCAL, mutual_auth_file=self.caller_file)
        self._caller_mutual_auth = settings.load_mutual_auth()
        self.credentials = peer_credentials(settings, self._caller_mutual_auth, "user-manager", CLOCK)
        callee = Callee(mode=Mode.LOCAL, mutual_auth_file=self.callee_file)
        self._callee_mutual_auth = callee.load_mutual_auth()
        self.checked: CallerAuth = check_callers(callee, self._callee_mutual_auth, CLOCK)

    def write(self, *names: str) -> None:
        edge = render_edge(self.token.named(names), self.key.named(names))
        write(self.caller_file, {"presents": {"user-manager": edge}})
        write(self.callee_file, {"accepts": {"link-manager": edge}})

    def look(self, *, caller: bool = False, callee: bool = False) -> None:
        if caller:
            self._caller_mutual_auth.look()
        if callee:
            self._callee_mutual_auth.look()

    def holds(self, headers: Mapping[str, str] | None = None) -> bool:
        try:
            call = self.checked.authorize(self.credentials.headers(ALICE) if headers is None else headers, "users.find")
        except DelinkciousError:
            return False
        return (call.caller, call.actor) == ("link-manager", ALICE)


def write(path: Path, content: object) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content))
    partial.chmod(0o600)
    partial.replace(path)


@pytest.fixture
def edge(tmp_path: Path) -> Edge:
    return Edge(tmp_path)


async def test_a_peer_is_called_with_the_secret_of_its_edge(tmp_path: Path) -> None:
    token = new_secret()
    file = tmp_path / "mutual-auth.yaml"
    write(file, {"presents": {"user-manager": render_edge([token], [new_secret()])}})
    settings = Caller(mode=Mode.LOCAL, mutual_auth_file=file)
    async with HttpSession() as session:
        peer = connect_peer(settings, settings.load_mutual_auth(), session, "user-manager", ADDRESS, CLOCK)
    assert peer.callee == "user-manager"
    assert peer._credentials.headers(None) == {"Delinkcious-Caller-Token": token}


async def test_a_secret_that_is_missing_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "mutual-auth.yaml"
    write(file, {"presents": {"somebody-else": render_edge([new_secret()], [new_secret()])}})
    settings = Caller(mode=Mode.LOCAL, mutual_auth_file=file)
    async with HttpSession() as session:
        with pytest.raises(StartError, match="has no secret for user-manager under `presents`"):
            connect_peer(settings, settings.load_mutual_auth(), session, "user-manager", ADDRESS, CLOCK)


def test_with_caller_checks_off_none_is_needed(tmp_path: Path) -> None:
    settings = Caller(mode=Mode.LOCAL, mutual_auth=False, mutual_auth_file=tmp_path / "missing.yaml")
    credentials = peer_credentials(settings, settings.load_mutual_auth(), "user-manager", CLOCK)
    assert credentials.headers(None) == {}


@pytest.mark.parametrize("first", ["caller", "callee"])
def test_secrets_change_and_every_call_in_between_holds(edge: Edge, first: str) -> None:
    """Whichever end is the first to see each step."""
    second = {"caller": "callee", "callee": "caller"}[first]
    of_old = edge.credentials.headers(ALICE)
    for names in (("old", "new"), ("new", "old"), ("new",)):
        edge.write(*names)
        for end in (first, second):
            edge.look(**{end: True})
            assert edge.holds(), (names, end)
    assert edge.credentials.headers(None) == {CALLER_TOKEN_HEADER: edge.token.new}
    assert not edge.holds(of_old)


def test_what_an_old_key_signed_does_not_outlive_it(edge: Edge) -> None:
    statement = edge.credentials.headers(ALICE)
    assert edge.holds(statement)
    edge.write("old", "new")
    edge.look(callee=True)
    assert edge.holds(statement)
    edge.key.old = new_secret()
    edge.write("old")
    edge.look(callee=True)
    assert not edge.holds(statement)


def test_a_caller_that_the_file_loses_is_let_in_no_more(edge: Edge) -> None:
    write(edge.callee_file, {"accepts": {"api-gateway": render_edge([new_secret()], [new_secret()])}})
    assert edge.holds()
    edge.look(callee=True)
    assert not edge.holds()


def test_a_callee_that_the_file_loses_keeps_its_secret(edge: Edge) -> None:
    write(edge.caller_file, {"presents": {"news-manager": render_edge([new_secret()], [new_secret()])}})
    written = io.BytesIO()
    with logs_written_to(written):
        edge.look(caller=True)
    assert json.loads(written.getvalue().splitlines()[-1])["callee"] == "user-manager"
    assert edge.holds()


def test_a_file_that_becomes_wrong_changes_nothing(edge: Edge) -> None:
    edge.callee_file.write_text("accepts: {link-manager: {token: 123")
    edge.look(callee=True)
    assert edge.holds()


def test_a_stranger_is_one_at_every_step(edge: Edge) -> None:
    made_up = EdgeCredentials("link-manager", "user-manager", EdgeSecret(new_secret(), new_secret()), CLOCK).headers(
        ALICE
    )
    for names in (("old", "new"), ("new", "old"), ("new",)):
        edge.write(*names)
        edge.look(caller=True, callee=True)
        assert not edge.holds(made_up)
