"""The commands of a Modelfile, printed (grammar: internals 4.6; `create/modelfile.py` parses them)."""

from typing import NamedTuple

_QUOTED = ("license", "template", "system", "adapter", "draft", "renderer", "parser", "requires")


class Command(NamedTuple):
    """`name` is `model` for FROM, a parameter's own name for PARAMETER, else the instruction in lower case.

    The value of a MESSAGE is `role: content`.
    """

    name: str
    value: str

    def __str__(self) -> str:
        if self.name == "model":
            return f"FROM {self.value}"
        if self.name in _QUOTED:
            return f"{self.name.upper()} {quote(self.value)}"
        if self.name == "message":
            role, _, content = self.value.partition(": ")
            return f"MESSAGE {role} {quote(content)}"
        return f"PARAMETER {self.name} {quote(self.value)}"


def print_modelfile(commands: list[Command]) -> str:
    """One instruction a line; parses to the same commands as far as the grammar allows."""
    return "".join(f"{command}\n" for command in commands)


def quote(value: str) -> str:
    """In quotes where a newline or an outer blank would be lost, in three where the value has one itself."""
    if "\n" not in value and not value.startswith(" ") and not value.endswith(" "):
        return value
    marks = '"""' if '"' in value else '"'
    return f"{marks}{value}{marks}"


def unquote(text: str) -> str | None:
    """The value inside quotes, or as it stands; None when a quote is still open."""
    for marks in ('"""', '"'):
        if text.startswith(marks):
            is_closed = len(text) >= 2 * len(marks) and text.endswith(marks)
            return text[len(marks) : -len(marks)] if is_closed else None
    return text
