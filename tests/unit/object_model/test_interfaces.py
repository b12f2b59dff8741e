"""A manager, its client and its fake have the interface's methods: the same names, arguments and kinds of answer."""

import inspect
from typing import Any

import pytest

from pkg.clients.link_client import LinkClient
from pkg.clients.news_client import NewsClient
from pkg.clients.news_grpc_client import NewsGrpcClient
from pkg.clients.social_graph_client import SocialGraphClient
from pkg.clients.user_client import UserClient
from pkg.link_manager.manager import LinkManager
from pkg.news_manager.manager import NewsManager
from pkg.object_model import interfaces
from pkg.social_graph_manager.manager import SocialGraphManager
from pkg.user_manager.manager import UserManager
from tests.fakes import FakeSocialGraph, FakeUserDirectory

IMPLEMENTATIONS: list[tuple[type[Any], type[Any]]] = [
    (interfaces.LinkManager, LinkManager),
    (interfaces.LinkManager, LinkClient),
    (interfaces.UserManager, UserManager),
    (interfaces.UserManager, UserClient),
    (interfaces.UserDirectory, FakeUserDirectory),
    (interfaces.SocialGraphManager, SocialGraphManager),
    (interfaces.SocialGraphManager, SocialGraphClient),
    (interfaces.SocialGraphManager, FakeSocialGraph),
    (interfaces.NewsManager, NewsManager),
    (interfaces.NewsManager, NewsClient),
    (interfaces.News, NewsGrpcClient),
]


def methods(cls: type[Any]) -> dict[str, Any]:
    return {name: found for name, found in inspect.getmembers(cls, inspect.isfunction) if not name.startswith("_")}


def differences(interface: type[Any], implementation: type[Any]) -> list[str]:
    found = []
    theirs = methods(implementation)
    for name, wanted in methods(interface).items():
        method = theirs.get(name)
        if method is None or method is wanted:
            found.append(f"{name} is missing")
        elif inspect.signature(method, eval_str=True) != inspect.signature(wanted, eval_str=True):
            found.append(f"{name}{inspect.signature(method)} is not {inspect.signature(wanted)}")
        # An async generator is called like a function that gives an iterator.
        elif inspect.iscoroutinefunction(method) != inspect.iscoroutinefunction(wanted):
            found.append(f"{name} is not awaited alike")
    return found


@pytest.mark.parametrize(
    ("interface", "implementation"),
    IMPLEMENTATIONS,
    ids=[f"{cls.__module__}.{cls.__name__}" for _, cls in IMPLEMENTATIONS],
)
def test_the_interface_is_kept(interface: type[Any], implementation: type[Any]) -> None:
    assert differences(interface, implementation) == []


def test_a_difference_is_seen() -> None:
    class Odd(interfaces.UserDirectory):
        async def find_users(self, names: list[str]) -> dict[str, str]:  # type: ignore[override]  # that is the point
            return {}

    assert [difference.split("(")[0] for difference in differences(interfaces.UserDirectory, Odd)] == [
        "find_names is missing",
        "find_users",
    ]


def test_every_method_says_who_asks() -> None:
    """But for those that find out who somebody is, and what services ask for nobody in particular."""
    unasked = {
        "find_users", "find_names", "admit", "issue_ticket", "login", "logout", "authenticate", "get_follower_ids",
        "get_followed", "get_shared_links", "erase_user",
    }  # fmt: skip
    for interface in (interfaces.LinkManager, interfaces.UserManager, interfaces.SocialGraphManager):
        for name, method in methods(interface).items():
            parameters = list(inspect.signature(method).parameters)
            assert (parameters[1] == "actor") == (name not in unasked), name
