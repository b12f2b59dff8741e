"""All that is in a Valkey, as text, for whoever looks for traces in it."""

from redis.asyncio import Redis


async def dump(redis: Redis) -> dict[str, str]:
    """By key."""
    contents: dict[str, str] = {}
    for key in [key async for key in redis.scan_iter("*", count=1_000)]:
        match await redis.type(key):
            case b"string":
                content: object = await redis.get(key)
            case b"list":
                content = await redis.lrange(key, 0, -1)  # type: ignore[misc]  # its types are of both kinds of client
            case b"hash":
                content = await redis.hgetall(key)  # type: ignore[misc]  # likewise
            case b"zset":
                content = await redis.zrange(key, 0, -1)
            case b"none":
                # Over, meanwhile.
                continue
            case kind:
                raise AssertionError(f"{key} is a {kind}")
        contents[key.decode()] = str(content)
    return contents
