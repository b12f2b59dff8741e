"""What a service does besides answering requests."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def run_in_background(*jobs: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs the jobs, which have no end of their own, while the block runs; then cancels them and waits for their end.

    A job that fails ends the block as well: a service that has silently stopped half of its work is worse than one that
    is started again.

    Raises:
        ExceptionGroup: a job failed.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(job) for job in jobs]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
