"""People whom an operator adds and lets in, whatever a provider says of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pkg.clients.user_client import UserClient
from pkg.object_model.clock import SystemClock
from pkg.object_model.errors import Conflict
from pkg.object_model.types import RegisterRequest, Session
from pkg.runtime.access import OPERATOR, USER_MANAGER
from pkg.runtime.caller_auth import EdgeCredentials
from pkg.runtime.http_client import ServiceHttpClient
from pkg.runtime.http_session import HttpSession
from pkg.runtime.mutual_auth import load_mutual_auth
from pkg.runtime.start_error import StartError


@asynccontextmanager
async def connect_operator(user_manager: str, mutual_auth_file: Path) -> AsyncIterator[UserClient]:
    """The user service at this base URL, as an operator calls it.

    Raises:
        StartError: the file has no secret for it.
    """
    secret = load_mutual_auth(mutual_auth_file).presents.get(USER_MANAGER)
    if secret is None:
        raise StartError(f"{mutual_auth_file} has no secret for {USER_MANAGER} under `presents`; use the operator's")
    credentials = EdgeCredentials(OPERATOR, USER_MANAGER, secret, SystemClock())
    async with HttpSession() as session:
        yield UserClient(ServiceHttpClient(session, user_manager, credentials, timeout=10.0))


async def let_in(users: UserClient, name: str, client: str) -> Session:
    """A new session of the user, who is registered first if nobody has the name. ``client`` is what they see of it."""
    try:
        await users.register(None, RegisterRequest(name=name))
    except Conflict as error:
        if error.code != "name_taken":
            raise
    ticket = await users.issue_ticket(name)
    return await users.login(name, ticket.ticket, client)
