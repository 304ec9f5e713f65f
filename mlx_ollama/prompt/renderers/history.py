"""Questions that formats ask of a conversation, and Go's idea of blanks."""

from collections.abc import Sequence

from mlx_ollama.api.messages import Message, Think
from mlx_ollama.prompt.conversation import Conversation

# Go's unicode.IsSpace; Python's strip() takes the separators \x1c to \x1f too.
SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)


def trim(text: str) -> str:
    """Without blanks at either end."""
    return text.strip(SPACE)


def is_on(think: Think, *, default: bool) -> bool:
    """Whether to think: a level is a yes."""
    return default if think is None else bool(think)


def split_system(
    conversation: Conversation, roles: Sequence[str] = ("system",)
) -> tuple[str | None, list[Message]]:
    """The content of a leading system message (None: there is none) and the messages after it."""
    messages = conversation.messages
    if messages and messages[0].role in roles:
        return messages[0].content, messages[1:]
    return None, messages


def is_prefill(messages: list[Message], at: int) -> bool:
    """Whether the message is an answer that is to be continued."""
    return at == len(messages) - 1 and messages[at].role == "assistant"


def ends_in_answer(messages: list[Message]) -> bool:
    """Whether the last message is the assistant's."""
    return bool(messages) and is_prefill(messages, len(messages) - 1)


def first_of_results(messages: list[Message], at: int) -> bool:
    """Whether no tool result stands before this one."""
    return at == 0 or messages[at - 1].role != "tool"


def last_of_results(messages: list[Message], at: int) -> bool:
    """Whether no tool result follows this one."""
    return at == len(messages) - 1 or messages[at + 1].role != "tool"


def last_index(messages: list[Message], role: str) -> int:
    """Where the last message of a role is, -1 where there is none."""
    found = [at for at, message in enumerate(messages) if message.role == role]
    return found[-1] if found else -1
