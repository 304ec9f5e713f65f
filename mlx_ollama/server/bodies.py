"""Request bodies: read within their limit, decoded into structs."""

from typing import Any, TypeVar

from litestar import Request
from litestar.datastructures import State

from mlx_ollama.api.decoding import decode

Call = Request[Any, Any, State]  # what a handler is given
Struct = TypeVar("Struct")


async def read(request: Call, kind: type[Struct]) -> Struct:
    """The body as a `kind`; `InvalidRequest` with the text that Ollama has for it."""
    return decode(await request.body(), kind)
