"""What a runner says to one chat or generate request, as far as a client is concerned."""

import random
import string
from collections.abc import AsyncGenerator
from contextlib import aclosing

from mlx_ollama.errors import Canceled
from mlx_ollama.ipc.messages import Chat, Delta, Done, Generate, Rendered
from mlx_ollama.supervisor.lease import Lease

_ID_CHARACTERS = string.ascii_lowercase + string.digits


async def events_of(
    lease: Lease, message: Chat | Generate
) -> AsyncGenerator[Delta | Done | Rendered, None]:
    """Text that is there, then the last word. Tool calls have ids."""
    async with aclosing(lease.request(message)) as events:
        async for event in events:
            if isinstance(event, Delta):
                _name_calls(event)
                if event.content or event.thinking or event.tool_calls or event.logprobs:
                    yield event
            elif isinstance(event, Done | Rendered):
                if isinstance(event, Done) and event.reason == "abort":
                    raise Canceled("request canceled")
                yield event


def _name_calls(delta: Delta) -> None:
    for call in delta.tool_calls:
        if not call.id:
            call.id = "call_" + "".join(random.choices(_ID_CHARACTERS, k=8))  # noqa: S311 - a label
