"""Who may call what: the one table. What is not in it is refused."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

LINK_MANAGER: Final = "link-manager"
USER_MANAGER: Final = "user-manager"
SOCIAL_GRAPH_MANAGER: Final = "social-graph-manager"
API_GATEWAY: Final = "api-gateway"
NEWS_MANAGER: Final = "news-manager"
#: Who dispatches checks, and the function that it calls.
LINK_CHECKER: Final = "link-checker"
LINK_CHECK_FUNCTION: Final = "link-check-function"
#: The command-line tools of those who run the system.
OPERATOR: Final = "operator"

#: Service -> operation -> callers.
ALLOWED_CALLERS: Final[Mapping[str, Mapping[str, frozenset[str]]]] = MappingProxyType(
    {
        LINK_MANAGER: MappingProxyType(
            {
                # News of the version before asked for what it shows; this one reads what is shared.
                "links.read": frozenset({API_GATEWAY, NEWS_MANAGER}),
                # Whatever followers may see, of anybody, for nobody in particular: what events say as well.
                "links.read_shared": frozenset({NEWS_MANAGER}),
                # What is for the owner alone: which links are dead, and since when.
                "links.read_own": frozenset({API_GATEWAY}),
                "links.write": frozenset({API_GATEWAY}),
                "links.import": frozenset({API_GATEWAY}),
                "links.export": frozenset({API_GATEWAY}),
                "links.erase": frozenset({USER_MANAGER}),
            }
        ),
        USER_MANAGER: MappingProxyType(
            {
                "users.register": frozenset({API_GATEWAY, OPERATOR}),
                "users.login": frozenset({API_GATEWAY, OPERATOR}),
                "users.logout": frozenset({API_GATEWAY, OPERATOR}),
                "users.authenticate": frozenset({API_GATEWAY}),
                # Whoever may, lets people in as whom they like.
                "users.admit": frozenset({API_GATEWAY}),
                "users.tickets": frozenset({OPERATOR}),
                # A user's own: who they are, sessions and tokens, what happened to the account.
                "users.account": frozenset({API_GATEWAY}),
                "users.tokens": frozenset({API_GATEWAY}),
                "users.audit": frozenset({API_GATEWAY}),
                "users.read": frozenset({API_GATEWAY, OPERATOR}),
                "users.find": frozenset({API_GATEWAY, LINK_MANAGER, SOCIAL_GRAPH_MANAGER, OPERATOR}),
            }
        ),
        SOCIAL_GRAPH_MANAGER: MappingProxyType(
            {
                "graph.write": frozenset({API_GATEWAY}),
                "graph.read": frozenset({API_GATEWAY, LINK_MANAGER, NEWS_MANAGER}),
                # What is for the user alone: who asked, who is blocked, whom they have in common with others.
                "graph.read_own": frozenset({API_GATEWAY}),
                "graph.erase": frozenset({USER_MANAGER}),
            }
        ),
        NEWS_MANAGER: MappingProxyType(
            {"news.read": frozenset({API_GATEWAY}), "news.erase": frozenset({USER_MANAGER})}
        ),
        LINK_CHECK_FUNCTION: MappingProxyType({"links.check": frozenset({LINK_CHECKER})}),
        API_GATEWAY: MappingProxyType({}),
    }
)
