"""What the clients of all services that hold something of users have in common."""

from typing import Final

from pkg.clients.reply import read_reply
from pkg.object_model.wire_requests import ERASE_QUERY, EraseUserRequest, to_query
from pkg.runtime.http_client import ServiceHttpClient

#: Seconds. A part is some thousand rows, which nobody waits for.
_TIMEOUT: Final = 8.0


async def erase_user(http: ServiceHttpClient, service: str, user_id: int, start_token: str) -> str:
    """``UserData.erase_user`` of a service from afar."""
    query = to_query(EraseUserRequest(user_id=user_id, start_token=start_token), ERASE_QUERY)
    path = f"/users/{query.pop('user_id')}"
    body = await http.request("DELETE", path, actor=None, params=query, repeatable=True, timeout=_TIMEOUT)
    return read_reply(service, body, lambda wire: str(wire["NextPageToken"]))
