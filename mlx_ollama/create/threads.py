"""Work that blocks, beside the event loop."""

import asyncio
from collections.abc import AsyncGenerator, Generator, Iterator
from typing import TypeVar

Item = TypeVar("Item")


async def in_thread(items: Iterator[Item]) -> AsyncGenerator[Item]:
    """An iterator that blocks, each step of it in a thread.

    When the reader goes away the step that runs is waited for, then a generator is closed.
    """
    end = object()
    try:
        while (item := await _step(items, end)) is not end:
            yield item  # pyright: ignore[reportReturnType]
    finally:
        if isinstance(items, Generator):
            items.close()


async def _step(items: Iterator[Item], end: object) -> Item | object:
    step = asyncio.ensure_future(asyncio.to_thread(next, items, end))
    try:
        return await asyncio.shield(step)
    except asyncio.CancelledError:
        await asyncio.wait([step])
        raise
