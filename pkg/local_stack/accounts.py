"""Users that a person asks for on the command line."""

from collections.abc import Sequence
from pathlib import Path

from pkg.clients.user_client import UserClient
from pkg.object_model.clock import SystemClock
from pkg.object_model.errors import Conflict, DelinkciousError
from pkg.object_model.types import RegisterRequest
from pkg.runtime.access import OPERATOR, USER_MANAGER
from pkg.runtime.caller_auth import EdgeCredentials
from pkg.runtime.http_client import ServiceHttpClient
from pkg.runtime.http_session import HttpSession
from pkg.runtime.mutual_auth import load_mutual_auth
from pkg.runtime.start_error import StartError

#: Local mode takes any from a registered user.
_TICKET = "local"


async def log_in(names: Sequence[str], user_manager: str, mutual_auth_file: Path) -> dict[str, str]:
    """A new session's token for each user; those who are not there yet are registered.

    Raises:
        StartError: the user service refuses one.
    """
    secret = load_mutual_auth(mutual_auth_file).presents[USER_MANAGER]
    credentials = EdgeCredentials(OPERATOR, USER_MANAGER, secret, SystemClock())
    tokens = {}
    async with HttpSession() as session:
        users = UserClient(ServiceHttpClient(session, user_manager, credentials, timeout=10.0))
        for name in names:
            try:
                tokens[name] = await _log_in(users, name)
            except DelinkciousError as error:
                raise StartError(f"--user {name}: {error.message}") from None
    return tokens


async def _log_in(users: UserClient, name: str) -> str:
    try:
        await users.register(None, RegisterRequest(name=name))
    except Conflict as error:
        if error.code != "name_taken":
            raise
    return (await users.login(name, _TICKET)).token
