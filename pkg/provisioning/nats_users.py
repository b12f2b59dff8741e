"""The users of NATS: an operator, and one for each service that tells or hears something, with the rights it needs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pkg.events.announcements import NEWS_CHANGES, TOKEN_REVOCATIONS
from pkg.events.consumers import CONSUMERS
from pkg.events.messages import BULK, DEAD_LETTERS, LINK_CHECK_EVENTS, LINK_EVENTS, SOCIAL_GRAPH_EVENTS, STREAM
from pkg.events.operator import ADMINISTRATOR
from pkg.runtime.access import (
    API_GATEWAY,
    LINK_CHECKER,
    LINK_MANAGER,
    NEWS_MANAGER,
    SOCIAL_GRAPH_MANAGER,
    USER_MANAGER,
)

#: What each service tells the stream, if it has to do with it.
_TELLS: Final[Mapping[str, Sequence[str]]] = {
    LINK_MANAGER: [f"{LINK_EVENTS}.>"],
    SOCIAL_GRAPH_MANAGER: [f"{SOCIAL_GRAPH_EVENTS}.>"],
    LINK_CHECKER: [LINK_CHECK_EVENTS, f"{LINK_CHECK_EVENTS}.{BULK}"],
    NEWS_MANAGER: [],
}
#: What is announced to whoever listens: by whom, and who may.
_ANNOUNCES: Final[Mapping[str, Sequence[str]]] = {
    USER_MANAGER: [TOKEN_REVOCATIONS],
    NEWS_MANAGER: [NEWS_CHANGES],
}
_LISTENS: Final[Mapping[str, Sequence[str]]] = {API_GATEWAY: [TOKEN_REVOCATIONS, NEWS_CHANGES]}
_SERVICES: Final = (*_TELLS, *_ANNOUNCES, *_LISTENS)


def _permissions(service: str) -> dict[str, Any]:
    publish = [*_ANNOUNCES.get(service, ())]
    if service in _TELLS:
        publish += [*_TELLS[service], f"$JS.API.STREAM.INFO.{STREAM}"]
    for consumer in CONSUMERS:
        if consumer.service == service:
            place = f"{STREAM}.{consumer.name}"
            publish += [f"$JS.API.CONSUMER.INFO.{place}", f"$JS.API.CONSUMER.MSG.NEXT.{place}", f"$JS.ACK.{place}.>"]
            publish.append(f"{DEAD_LETTERS}.{consumer.name}")
    return {
        # An empty list would forbid nothing.
        "publish": publish or {"deny": ">"},
        "subscribe": [f"_INBOX_{service}.>", *_LISTENS.get(service, ())],
    }


#: What each user may publish and subscribe to. Replies come to inboxes named after the user, which nobody else reads.
PERMISSIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    ADMINISTRATOR: {"publish": ">", "subscribe": ">"},
    **{service: _permissions(service) for service in _SERVICES},
}


def render_authorization(password_of: Callable[[str], str]) -> dict[str, Any]:
    """What stands under ``authorization`` in the server's configuration."""
    return {
        "users": [
            {"user": user, "password": password_of(user), "permissions": permissions}
            for user, permissions in PERMISSIONS.items()
        ]
    }


def render_routes(password: str, servers: Sequence[str]) -> str:
    """What stands under ``cluster`` in each server's configuration: who the others are, and how they are known."""
    routes = ", ".join(f'"nats://routes:{password}@{server}"' for server in servers)
    return f'authorization {{user: routes, password: "{password}", timeout: 5}}\nroutes: [{routes}]\n'
