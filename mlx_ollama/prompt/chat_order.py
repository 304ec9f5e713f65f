"""Other orders of a conversation, for chat templates that refuse the one it came in.

The API takes neighbours of one role and system messages anywhere (contract 9.4); many templates do not.
Nothing is left out: texts are joined by a blank line.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from mlx_ollama.api.messages import Message


def other_orders(messages: list[Message]) -> Iterator[list[Message]]:
    """Neighbours joined; then one system message in front; then its text in the first question."""
    tried = [messages]
    for order in (messages, _system_first(messages), system_in_question(messages)):
        joined = _joined(order)
        if joined not in tried:
            tried.append(joined)
            yield joined


def system_in_question(messages: list[Message]) -> list[Message]:
    """All system text in front of the first user's message."""
    system, others = _apart(messages)
    if not system:
        return messages
    for at, message in enumerate(others):
        if message.role == "user":
            content = "\n\n".join(filter(None, (system, message.content)))
            return [*others[:at], replace(message, content=content), *others[at + 1 :]]
    return [Message(role="user", content=system), *others]


def _apart(messages: list[Message]) -> tuple[str, list[Message]]:
    system = [message.content for message in messages if message.role == "system"]
    return "\n\n".join(system), [message for message in messages if message.role != "system"]


def _system_first(messages: list[Message]) -> list[Message]:
    system, others = _apart(messages)
    return [Message(role="system", content=system), *others] if system else messages


def _joined(messages: list[Message]) -> list[Message]:
    """Neighbours of one role as one message, unless one of them is or has a call."""
    joined: list[Message] = []
    for message in messages:
        before = joined[-1] if joined else None
        if before and _can_join(before, message):
            joined[-1] = replace(
                before,
                content=f"{before.content}\n\n{message.content}",
                images=[*before.images, *message.images],
            )
        else:
            joined.append(message)
    return joined


def _can_join(before: Message, message: Message) -> bool:
    plain = not before.tool_calls and not message.tool_calls and not message.thinking
    return plain and before.role == message.role != "tool"
