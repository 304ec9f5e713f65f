"""Making a prompt fit its context window (contract 5.2 and 5.3). Pure."""

from collections.abc import Callable, Sequence

from mlx_ollama.api.messages import Message
from mlx_ollama.errors import InvalidRequest

TOO_LONG = (
    "the prompt is longer than the context length currently available to the model; shorten the prompt, "
    "adjust the context length in settings, or use a model with a longer context length"
)


def without_oldest(messages: Sequence[Message], dropped: int) -> list[Message]:
    """The messages without the first `dropped` ones, of which system messages stay in front."""
    kept = [message for message in messages[:dropped] if message.role == "system"]
    return [*kept, *messages[dropped:]]


def fitting_messages(
    messages: Sequence[Message], count: Callable[[list[Message]], int], limit: int
) -> list[Message]:
    """The most messages whose prompt has at most `limit` tokens; the last one stays even if it is too long.

    `count` renders and tokenizes. Dropping more never makes a prompt longer, so the border is found by halving.
    """
    low, high = 0, max(len(messages) - 1, 0)
    if not high or count(list(messages)) <= limit:
        return list(messages)
    low = 1
    while low < high:
        middle = (low + high) // 2
        if count(without_oldest(messages, middle)) <= limit:
            high = middle
        else:
            low = middle + 1
    return without_oldest(messages, high)


def clipped(
    ids: list[int], num_ctx: int, num_keep: int, *, truncate: bool, shift: bool
) -> list[int]:
    """A prompt that leaves room to generate: the first `num_keep` and the newest tokens, the middle dropped.

    Half of the window beyond `num_keep` stays free, as after a shift. `num_keep` < 0 keeps all.
    Raises InvalidRequest where the request forbids dropping tokens.
    """
    limit = num_ctx - 1
    if len(ids) <= limit:
        return ids
    if not truncate or not shift:
        raise InvalidRequest(TOO_LONG)
    keep = min(len(ids) if num_keep < 0 else num_keep, limit)
    room = num_ctx - max((num_ctx - keep) // 2, 1)
    return ids[:keep] + ids[len(ids) - (room - keep) :]
