"""In and out for programs, which keep their session's token themselves: no cookie, no page."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from pkg.object_model.errors import InvalidArgument
from pkg.object_model.interfaces import UserManager
from pkg.object_model.types import TokenKind
from pkg.runtime.json import encode
from svc.api_gateway_service.arguments import Argument, Text
from svc.api_gateway_service.readers import JSON, Arguments
from svc.api_gateway_service.request_head import read_head
from svc.api_gateway_service.tokens import TokenVerdicts

#: As the original's clients write them.
CREDENTIALS: Final = Arguments(
    (
        Argument(name="Username", kind=Text(39), description="The user's name.", example="alice", required=True),
        Argument(
            name="AuthToken",
            kind=Text(4_096),
            description="A ticket; in local mode anything.",
            example="dli_...",
            required=True,
        ),
    )
)
_MAX_CLIENT: Final = 200


class Sessions:
    def __init__(self, users: UserManager, verdicts: TokenVerdicts) -> None:
        self._users = users
        self._verdicts = verdicts

    async def log_in(self, http: Request) -> Response:
        if http.scope["query_string"]:
            raise InvalidArgument(
                "send Username and AuthToken in the body: what is in a URL is written down on its way"
            )
        head = read_head(http.scope["headers"])
        given = (await CREDENTIALS.read(http, head, "POST /login")).arguments
        session = await self._users.login(given["Username"], given["AuthToken"], client_of(http))
        answer = {"session": session.token, "ExpiresAt": session.expires_at, "err": ""}
        return Response(encode(answer), media_type=JSON)

    async def log_out(self, http: Request) -> Response:
        """Ends the session whose token is in a header."""
        token = read_head(http.scope["headers"]).token()
        identity = await self._verdicts.identify(token)
        if identity.token.kind is not TokenKind.SESSION:
            raise InvalidArgument(
                "this is an API token, which is not logged out but revoked: DELETE /v1/me/tokens/{id}",
                code="not_a_session",
            )
        await self._users.logout(identity.actor.name, token)
        return Response(encode({"err": ""}), media_type=JSON)


def client_of(http: Request) -> str:
    """What a session is shown with in lists: the browser or program that it was opened with."""
    said = "".join(filter(str.isprintable, http.headers.get("user-agent", "")))
    return said[:_MAX_CLIENT]
