"""What all replies share: times, metrics, and which of them are whole by themselves."""

import time
from datetime import UTC, datetime
from typing import Any

from msgspec import UNSET

from mlx_ollama.api.ollama import ChatResponse, DebugInfo, GenerateResponse
from mlx_ollama.ipc.messages import Done, Rendered


def now() -> str:
    """UTC, RFC 3339 with nanoseconds, zeros at the end left out."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{nanoseconds:09d}".rstrip("0").rstrip(".")
    return f"{text}{fraction}Z"


def stands_alone(chunk: ChatResponse | GenerateResponse) -> bool:
    """One JSON object even for a client that streams: a load, an unload, a rendered prompt."""
    return chunk.done_reason in ("load", "unload") or chunk.debug_info is not UNSET


def final_fields(done: Done, *, started: int, load_duration: int) -> dict[str, Any]:
    """`done`, its reason and the six metrics; `started` is `time.monotonic_ns` of the request."""
    metrics = done.metrics
    return {
        "done": True,
        "done_reason": done.reason,
        "total_duration": time.monotonic_ns() - started,
        "load_duration": load_duration,
        "prompt_eval_count": metrics.prompt_eval_count,
        "prompt_eval_duration": metrics.prompt_eval_duration,
        "eval_count": metrics.eval_count,
        "eval_duration": metrics.eval_duration,
    }


def debug_fields(rendered: Rendered) -> dict[str, Any]:
    info = DebugInfo(rendered_template=rendered.prompt, image_count=rendered.image_count)
    return {"done": False, "debug_info": info}
