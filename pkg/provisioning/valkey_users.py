"""The users of Valkey: one for each service that keeps something there, with the keys and commands that it needs.

Where Valkey is several, two more are the servers' own, and sentinels have a list like it, with the same passwords.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Final

from pkg.runtime.access import API_GATEWAY, LINK_CHECK_FUNCTION, NEWS_MANAGER

ADMINISTRATOR: Final = "administrator"
#: As whom a replica comes to its primary, and a sentinel to servers and to other sentinels.
REPLICA: Final = "replica"
SENTINEL: Final = "sentinel"

#: What every client says besides: probes, and its name for whoever looks at who is connected.
_CONNECTION: Final = ("ping", "client|setinfo")
_GATEWAY: Final = ("get", "set", "time", "eval", "evalsha")
_NEWS: Final = (
    *("del", "exists", "get", "getrange", "mget", "set", "unlink"),
    *("hdel", "hexists", "hget", "hgetall", "hmget", "hset", "hsetnx", "incr"),
    *("lindex", "llen", "lpos", "lpush", "lrange", "lrem", "ltrim", "rpush"),
    *("zadd", "zremrangebyscore", "zscore"),
    *("pexpire", "pexpiretime", "pttl", "scan", "wait"),
    *("eval", "evalsha"),
)


#: Whoever does not say who they are may ask whether the data is loaded: a refusal comes before it is.
_NOBODY: Final = "user default on nopass resetkeys resetchannels -@all +ping"


def _rules(keys: Sequence[str], commands: Sequence[str]) -> str:
    patterns = " ".join(f"~{pattern}" for pattern in keys) or "resetkeys"
    return f"{patterns} resetchannels -@all {' '.join(f'+{command}' for command in (*_CONNECTION, *commands))}"


def _own_rules(*commands: str) -> str:
    """Sentinels tell each other of themselves on one channel."""
    return f"{_rules([], commands)} &__sentinel__:hello"


#: Rules of each user, in the server's own words (https://valkey.io/topics/acl/).
RULES: Final[Mapping[str, str]] = {
    ADMINISTRATOR: "~* &* +@all",
    NEWS_MANAGER: _rules(["feed:*", "news:*"], _NEWS),
    API_GATEWAY: _rules(["limit:*"], _GATEWAY),
    # Who fetches strangers' pages gets to run no script here, and to read nothing.
    LINK_CHECK_FUNCTION: _rules(["host:*"], ["set"]),
}


#: Of the servers' own users, where they are several (https://valkey.io/topics/sentinel/).
OWN_RULES: Final[Mapping[str, str]] = {
    REPLICA: _rules([], ["psync", "replconf"]),
    SENTINEL: _own_rules(
        *("info", "role", "multi", "exec", "replicaof", "slaveof", "failover", "config|rewrite"),
        *("client|setname", "client|kill", "client|pause", "client|unpause", "script|kill", "publish", "subscribe"),
    ),
}

#: At the sentinels: services ask who is the primary; sentinels, and the servers' scripts, have more to say.
_ASKS: Final = _rules([], ["sentinel|master"])
SENTINEL_RULES: Final[Mapping[str, str]] = {
    NEWS_MANAGER: _ASKS,
    API_GATEWAY: _ASKS,
    LINK_CHECK_FUNCTION: _ASKS,
    SENTINEL: _own_rules(
        *("sentinel|is-master-down-by-addr", "sentinel|master", "sentinel|failover"),
        *("client|setname", "publish"),
    ),
}


def render_access_list(passwords_of: Callable[[str], tuple[str, ...]], rules: Mapping[str, str] = RULES) -> str:
    """The file of these users, which holds digests of the passwords only. While one is rotated, either holds."""
    lines = [_NOBODY]
    for user, its_rules in rules.items():
        digests = " ".join(f"#{sha256(password.encode()).hexdigest()}" for password in passwords_of(user))
        lines.append(f"user {user} on {digests} {its_rules}")
    return "\n".join(lines) + "\n"
