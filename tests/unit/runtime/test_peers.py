"""The edge from a service to one that it calls."""

from typing import ClassVar

import pytest

from pkg.runtime.caller_auth import EdgeSecret, MutualAuth, new_secret
from pkg.runtime.http_session import HttpSession
from pkg.runtime.peers import connect_peer
from pkg.runtime.settings import Mode, ServiceAddress, ServiceSettings
from pkg.runtime.start_error import StartError
from tests.fakes import FakeClock

ADDRESS = ServiceAddress(host="127.0.0.1", port=1)


class Settings(ServiceSettings):
    service_name: ClassVar[str] = "link-manager"


async def test_a_peer_is_called_with_the_secret_of_its_edge() -> None:
    secret = EdgeSecret(new_secret(), new_secret())
    async with HttpSession() as session:
        peer = connect_peer(
            Settings(mode=Mode.LOCAL),
            MutualAuth({}, {"user-manager": secret}),
            session,
            "user-manager",
            ADDRESS,
            FakeClock(),
        )
    assert peer.callee == "user-manager"
    assert peer._credentials.headers(None) == {"Delinkcious-Caller-Token": secret.token}


async def test_a_secret_that_is_missing_stops_the_start() -> None:
    async with HttpSession() as session:
        with pytest.raises(StartError, match="has no secret for user-manager under `presents`"):
            connect_peer(Settings(mode=Mode.LOCAL), MutualAuth({}, {}), session, "user-manager", ADDRESS, FakeClock())


async def test_with_caller_checks_off_none_is_needed() -> None:
    settings = Settings(mode=Mode.LOCAL, mutual_auth=False)
    async with HttpSession() as session:
        peer = connect_peer(settings, MutualAuth({}, {}), session, "user-manager", ADDRESS, FakeClock())
    assert peer._credentials.headers(None) == {}
