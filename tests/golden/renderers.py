"""`renderers.jsonl`: the built-in prompt formats, for every value of `think` that a case lists."""

from datetime import UTC, datetime
from typing import Any

from mlx_ollama.prompt.conversation import Conversation, TemplateError
from mlx_ollama.prompt.renderers import leading_bos, renderer
from tests.golden.gotemplate import messages_of, tools_of

_NOW = datetime(1987, 6, 5, tzinfo=UTC)


def _render(case: dict[str, Any], think: Any) -> dict[str, str]:
    conversation = Conversation(
        messages=messages_of(case.get("messages")),
        tools=tools_of(case.get("tools")),
        think=think,
        now=_NOW,
    )
    try:
        chosen = renderer(case["renderer"], image_tags=bool(case.get("img_tags")))
        return {"want": chosen.render(conversation).replace(f"{_NOW:%Y-%m-%d}", "{{TODAY}}")}
    except TemplateError as error:
        return {"error": str(error)}


def _is_wanted(got: dict[str, str], wanted: dict[str, Any]) -> bool:
    """Where Go's map order leaks, any order of the lines is right."""
    if "want_any" not in wanted:
        return got == {key: wanted[key] for key in ("want", "error") if key in wanted}
    lines = sorted(got.get("want", "").split("\n"))
    return any(lines == sorted(text.split("\n")) for text in wanted["want_any"])


def evaluate(case: dict[str, Any]) -> str | None:
    """None when every listed prompt or error is the wanted one."""
    if case["group"] == "leading_bos":
        got = leading_bos(case["renderer"])
        return None if got == case["want"] else f"{got!r} <> {case['want']!r}"
    for wanted in case["wants"]:
        for think in wanted["think"]:
            got = _render(case, think)
            if not _is_wanted(got, wanted):
                return f"think {think}: {got} <> {wanted}"
    return None
