"""Settings of where Valkey is: one server, or the sentinels of several."""

from collections.abc import Sequence
from typing import Annotated, Final, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, ValidationInfo
from pydantic_settings import NoDecode

from pkg.runtime.redis import RedisAddress
from pkg.runtime.redis_sentinels import Place, RedisSentinels
from pkg.runtime.secret import Password

_MAX_PLACES: Final = 9


def _read_places(value: object) -> object:
    if not isinstance(value, str):
        return value
    places = tuple(map(_read_place, value.split(",")))
    if len(set(places)) != len(places) or len(places) > _MAX_PLACES:
        raise ValueError(f"must name each sentinel once, and {_MAX_PLACES} at most")
    return places


def _read_place(text: str) -> Place:
    try:
        parts = urlsplit(f"//{text.strip()}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port or any(character in text for character in "/@?#"):
        raise ValueError(f"{text.strip()!r} is not host:port; write all of them so, with commas between them")
    return Place(host, port)


#: As host:port, with commas between them; none where there is one server.
SentinelPlaces = Annotated[tuple[Place, ...], NoDecode, BeforeValidator(_read_places)]


def only_with(field: str, variable: str) -> AfterValidator:
    """Of what the sentinels call the servers: ``variable`` names them, and ``field`` has read it."""

    def check(value: str | None, info: ValidationInfo) -> str | None:
        if field in info.data and bool(info.data[field]) != (value is not None):
            raise ValueError(
                f"is set, and {variable} is not; set both, or neither"
                if value is not None
                else f"is not set; set it, as {variable} is"
            )
        return value

    return AfterValidator(check)


def only_without(field: str, variable: str, *, one_is_needed: bool = True) -> AfterValidator:
    """Of the host where there is one server. Likewise."""

    def check(value: str | None, info: ValidationInfo) -> str | None:
        if field not in info.data:
            return value
        if info.data[field] and value is not None:
            raise ValueError(f"is set, and {variable} as well; leave one out")
        if not info.data[field] and value is None and one_is_needed:
            raise ValueError(f"is not set; set it, or {variable}")
        return value

    return AfterValidator(check)


class RedisPlaces(NamedTuple):
    host: str | None
    port: int
    sentinels: Sequence[Place]
    #: What the sentinels call the servers.
    name: str | None


def redis_at(places: RedisPlaces, user: str, password: Password, tls: bool) -> RedisAddress | RedisSentinels:
    """Of places that have been checked."""
    if places.host is not None:
        return RedisAddress(places.host, places.port, user, password, tls)
    return RedisSentinels(places.sentinels, places.name or "", user, password, tls)
