"""What a Jinja chat template tells about turns: the strings that end one, and an equal Go template.

Only a template that is its Go equivalent to the letter is replaced by it; any other is kept and rendered as it
is. The stop strings are those that Ollama gives models of the same turn format.
"""

import re
from collections.abc import Iterator

from msgspec import Struct

from mlx_ollama.api.models import Progress
from mlx_ollama.create.draft import Draft


class TurnFormat(Struct, frozen=True):
    """`marks` must all be in a template of this format. `jinja` matches the plain form, blanks removed."""

    name: str
    marks: tuple[str, ...]
    stop: tuple[str, ...]
    jinja: re.Pattern[str] | None = None
    template: str = ""


_CHATML = re.compile(
    r"\{%-?for(?P<m>\w+)inmessages-?%\}"
    r"\{\{-?'<\|im_start\|>'\+(?P=m)(?:\['role'\]|\.role)\+'\n'"
    r"\+(?P=m)(?:\['content'\]|\.content)\+'<\|im_end\|>'\+'\n'-?\}\}"
    r"\{%-?endfor-?%\}"
    r"\{%-?ifadd_generation_prompt-?%\}\{\{-?'<\|im_start\|>assistant\n'-?\}\}\{%-?endif-?%\}"
)

FORMATS = (
    TurnFormat(
        "chatml",
        ("<|im_start|>", "<|im_end|>"),
        ("<|im_start|>", "<|im_end|>"),
        _CHATML,
        "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}"
        "<|im_start|>assistant\n",
    ),
    TurnFormat(
        "llama3-instruct",
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
    TurnFormat(
        "gemma-instruct",
        ("<start_of_turn>", "<end_of_turn>"),
        ("<start_of_turn>", "<end_of_turn>"),
    ),
)


def detect(chat_template: str) -> TurnFormat | None:
    """The turn format of a chat template."""
    return next(
        (form for form in FORMATS if all(mark in chat_template for mark in form.marks)), None
    )


def is_plain(form: TurnFormat, chat_template: str) -> bool:
    """Whether the template says nothing but its format, so that `form.template` renders the same."""
    compact = re.sub(r"\\n", "\n", chat_template).replace('"', "'")
    compact = re.sub(r"[ \t]+", "", compact).strip()
    return form.jinja is not None and form.jinja.fullmatch(compact) is not None


def add_turn_format(draft: Draft, chat_template: object, *, keeps_own: bool) -> Iterator[Progress]:
    """What the chat template implies: where turns end and, if it is a plain one, an equal template.

    `keeps_own`: the request has a template of its own, or the base had.
    """
    if not isinstance(chat_template, str) or (form := detect(chat_template)) is None:
        return
    if is_plain(form, chat_template) and not keeps_own:
        yield Progress(status=f"using autodetected template {form.name}")
        draft.add_content("template", form.template.encode())
    draft.parameters["stop"] = list(form.stop)
