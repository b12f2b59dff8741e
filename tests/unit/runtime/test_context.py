"""A request's context is seen by what it starts, and by nothing else."""

import asyncio

from pkg.runtime.context import RequestContext, current_context, use_context


def test_there_is_none_outside_a_request() -> None:
    assert current_context() is None


async def test_tasks_see_the_context_they_were_started_in() -> None:
    async def seen() -> str:
        await asyncio.sleep(0)
        context = current_context()
        return context.request_id if context else ""

    with use_context(RequestContext("outer", "t")):
        outer = asyncio.create_task(seen())
        with use_context(RequestContext("inner", "t")):
            inner = asyncio.create_task(seen())
    assert current_context() is None
    assert [await outer, await inner] == ["outer", "inner"]
