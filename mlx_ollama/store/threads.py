"""Work that blocks, beside the event loop."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from typing import TypeVar

Item = TypeVar("Item")


async def run(work: Callable[[], Item]) -> Item:
    """Run it in a thread. When the caller is cancelled it is still waited for, so what it uses can be closed."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def in_thread(items: Iterator[Item]) -> AsyncGenerator[Item]:
    """An iterator that blocks, each step of it in a thread; a generator is closed when its reader goes away."""
    end = object()
    try:
        while (item := await run(lambda: next(items, end))) is not end:
            yield item  # pyright: ignore[reportReturnType]
    finally:
        if isinstance(items, Generator):
            await run(items.close)
