"""What leases of hosts promise, wherever they are kept. What must not end while a test runs takes an hour."""

import asyncio
import time

from pkg.link_checker.host_leases import HostLeases, Lease

HOUR = 3_600.0
DEADLINE = 20.0


async def take_in_time(leases: HostLeases, host: str) -> Lease:
    async with asyncio.timeout(DEADLINE):
        while (lease := await leases.take(host, HOUR)) is None:  # noqa: ASYNC110  # nobody tells of an end
            await asyncio.sleep(0.01)
    return lease


async def test_one_has_it_and_the_others_do_not(leases: HostLeases) -> None:
    taken = await asyncio.gather(*(leases.take("a.example", HOUR) for _ in range(20)))
    assert len([lease for lease in taken if lease is not None]) == 1


async def test_each_host_is_for_itself(leases: HostLeases) -> None:
    taken = [await leases.take(host, HOUR) for host in ("a.example", "b.example", "2001:db8::1")]
    assert None not in taken
    assert len({lease.token for lease in taken if lease is not None}) == 3


async def test_it_ends_by_itself(leases: HostLeases) -> None:
    began = time.monotonic()
    assert await leases.take("a.example", 0.2) is not None
    await take_in_time(leases, "a.example")
    assert time.monotonic() - began >= 0.19


async def test_after_its_end_the_host_rests(leases: HostLeases) -> None:
    lease = await leases.take("a.example", HOUR)
    assert lease is not None
    began = time.monotonic()
    await leases.rest(lease, 0.2)
    assert await leases.take("a.example", HOUR) is None or time.monotonic() - began >= 0.19
    await take_in_time(leases, "a.example")
    assert time.monotonic() - began >= 0.19


async def test_a_rest_of_no_time_is_none(leases: HostLeases) -> None:
    lease = await leases.take("a.example", HOUR)
    assert lease is not None
    await leases.rest(lease, 0.0)
    await take_in_time(leases, "a.example")


async def test_who_comes_too_late_ends_nobody_elses(leases: HostLeases) -> None:
    late = await leases.take("a.example", 0.01)
    assert late is not None
    await take_in_time(leases, "a.example")
    await leases.rest(late, 0.0)
    assert await leases.take("a.example", HOUR) is None


async def test_of_one_that_is_over_nobody_hears_again(leases: HostLeases) -> None:
    late = await leases.take("a.example", 0.01)
    assert late is not None
    first = await take_in_time(leases, "a.example")
    await leases.rest(first, 0.0)
    second = await take_in_time(leases, "a.example")
    await leases.rest(second, 0.01)
    third = await take_in_time(leases, "a.example")
    await leases.rest(late, HOUR)
    await leases.rest(third, 0.0)
    await take_in_time(leases, "a.example")


async def test_many_hosts(leases: HostLeases) -> None:
    hosts = [f"{number}.example" for number in range(1_500)]
    for host in hosts:
        assert await leases.take(host, HOUR) is not None
    assert await leases.take(hosts[0], HOUR) is None
