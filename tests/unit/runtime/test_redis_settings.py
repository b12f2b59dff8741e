"""One server or sentinels: said in one way, and whole."""

from pathlib import Path

import pytest

from fun.link_checker.settings import LinkCheckFunctionSettings
from pkg.runtime.mutual_auth import new_secret
from pkg.runtime.redis import RedisAddress
from pkg.runtime.redis_sentinels import Place, RedisSentinels
from pkg.runtime.settings import read_settings
from pkg.runtime.start_error import StartError
from svc.news_service.settings import NewsServiceSettings

HOST = "NEWS_MANAGER_REDIS_SERVICE_HOST"
SENTINELS = "NEWS_REDIS_SENTINELS"
NAME = "NEWS_REDIS_SENTINEL_NAME"


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    password = tmp_path / "password"
    password.write_text(new_secret())
    return {
        "DELINKCIOUS_MODE": "local",
        "DELINKCIOUS_MUTUAL_AUTH": "false",
        "LINK_MANAGER_SERVICE_HOST": "links",
        "SOCIAL_GRAPH_MANAGER_SERVICE_HOST": "graph",
        "NATS_CLUSTER_SERVICE_HOST": "nats",
        "NATS_PASSWORD_FILE": str(password),
        "NEWS_REDIS_PASSWORD_FILE": str(password),
        "LINK_CHECKER_REDIS_PASSWORD_FILE": str(password),
    }


def test_one_server(variables: dict[str, str]) -> None:
    found = read_settings(NewsServiceSettings, variables | {HOST: "store"}).redis
    assert isinstance(found, RedisAddress)
    assert (found.host, found.port, found.user) == ("store", 6379, "news-manager")


def test_sentinels(variables: dict[str, str]) -> None:
    named = {SENTINELS: "a.stores:26379, b.stores:26380,[::1]:1", NAME: "feeds", "NEWS_REDIS_TLS": "true", HOST: ""}
    found = read_settings(NewsServiceSettings, variables | named).redis
    assert isinstance(found, RedisSentinels)
    assert found.places == (Place("a.stores", 26379), Place("b.stores", 26380), Place("::1", 1))
    assert (found.name, found.user, found.tls) == ("feeds", "news-manager", True)
    assert found.password.get_secret_value() not in repr(found)  # type: ignore[union-attr]  # it is of a file


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({}, f"{HOST}: is not set; set it, or {SENTINELS}"),
        (
            {HOST: "store", SENTINELS: "a:1", NAME: "feeds"},
            f"{HOST}: is set, and {SENTINELS} as well; leave one out",
        ),
        ({SENTINELS: "a:1"}, f"{NAME}: is not set; set it, as {SENTINELS} is"),
        ({HOST: "store", NAME: "feeds"}, f"{NAME}: is set, and {SENTINELS} is not; set both, or neither"),
        ({SENTINELS: "a:1,a:1", NAME: "feeds"}, f"{SENTINELS}: must name each sentinel once, and 9 at most"),
        *(
            (
                {SENTINELS: f"a:1,{wrong}", NAME: "feeds"},
                f"{SENTINELS}: {wrong!r} is not host:port; write all of them so",
            )
            for wrong in ("b", "b:", ":1", "b:0", "b:x", "b:70000", "redis://b:1", "me@b:1", "b:1/2", "")
        ),
    ],
    ids=str,
)
def test_what_is_said_twice_or_by_half(variables: dict[str, str], said: dict[str, str], fault: str) -> None:
    with pytest.raises(StartError) as refused:
        read_settings(NewsServiceSettings, variables | said)
    (line,) = refused.value.faults
    assert line.startswith(fault)


def test_the_function_may_do_without_and_not_by_half(variables: dict[str, str]) -> None:
    assert read_settings(LinkCheckFunctionSettings, variables).redis is None
    named = {"LINK_CHECKER_REDIS_SENTINELS": "a:1", "LINK_CHECKER_REDIS_SENTINEL_NAME": "feeds"}
    assert isinstance(read_settings(LinkCheckFunctionSettings, variables | named).redis, RedisSentinels)
    for lacks, fault in (
        ("LINK_CHECKER_REDIS_SENTINEL_NAME", "LINK_CHECKER_REDIS_SENTINEL_NAME: is not set"),
        ("LINK_CHECKER_REDIS_SENTINELS", "LINK_CHECKER_REDIS_SENTINEL_NAME: is set, and"),
        ("LINK_CHECKER_REDIS_PASSWORD_FILE", "LINK_CHECKER_REDIS_PASSWORD_FILE is not set"),
    ):
        with pytest.raises(StartError, match=f"^{fault}"):
            read_settings(
                LinkCheckFunctionSettings,
                {name: value for name, value in (variables | named).items() if name != lacks},
            )
