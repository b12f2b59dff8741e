"""The users of Valkey: one for each service that keeps something there, with the keys and commands that it needs."""

from collections.abc import Callable, Collection, Mapping, Sequence
from hashlib import sha256
from typing import Final

from pkg.runtime.access import API_GATEWAY, LINK_CHECK_FUNCTION, NEWS_MANAGER

ADMINISTRATOR: Final = "administrator"

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
    patterns = " ".join(f"~{pattern}" for pattern in keys)
    return f"{patterns} resetchannels -@all {' '.join(f'+{command}' for command in (*_CONNECTION, *commands))}"


#: Rules of each user, in the server's own words (https://valkey.io/topics/acl/).
RULES: Final[Mapping[str, str]] = {
    ADMINISTRATOR: "~* &* +@all",
    NEWS_MANAGER: _rules(["feed:*", "news:*"], _NEWS),
    API_GATEWAY: _rules(["limit:*"], _GATEWAY),
    # Who fetches strangers' pages gets to run no script here, and to read nothing.
    LINK_CHECK_FUNCTION: _rules(["host:*"], ["set"]),
}


def render_access_list(passwords_of: Callable[[str], tuple[str, ...]], users: Collection[str] = RULES.keys()) -> str:
    """The file of these users, which holds digests of the passwords only. While one is rotated, either holds."""
    lines = [_NOBODY]
    for user in users:
        digests = " ".join(f"#{sha256(password.encode()).hexdigest()}" for password in passwords_of(user))
        lines.append(f"user {user} on {digests} {RULES[user]}")
    return "\n".join(lines) + "\n"
