"""The checker as its settings say, for the function and for a batch alike."""

from fun.link_checker.settings import LookSettings
from pkg.link_checker.checker import LinkChecker
from pkg.link_checker.redis_host_leases import RedisHostLeases
from pkg.runtime.redis import connect_redis


def open_checker(settings: LookSettings) -> tuple[LinkChecker, RedisHostLeases | None]:
    """With the leases that it goes by, if there are any. Neither connects before it is used."""
    leases = None
    if settings.redis is not None:
        leases = RedisHostLeases(connect_redis(settings.redis), timeout=settings.redis_timeout)
    checker = LinkChecker(
        allowed=settings.allowed,
        ports=settings.ports,
        confined=settings.confined,
        contact=settings.contact,
        leases=leases,
    )
    return checker, leases


async def close_checker(checker: LinkChecker, leases: RedisHostLeases | None) -> None:
    await checker.close()
    if leases is not None:
        await leases.close()
