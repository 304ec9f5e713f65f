"""The generic tool parser: our total against the reference's; its `final_content` is what it gives at the end."""

from typing import Any

from mlx_ollama.parsers.output import pick_parser
from tests.golden.__main__ import Deliberate
from tests.golden.differences import compare
from tests.golden.parsers import one_total, replay, tools_of


def evaluate(case: dict[str, Any]) -> str | None:
    """What differs, or None."""
    if case["group"] == "tag_inference":
        tag = _tag_of(case["template"])
        return None if tag == case["want"] else f"tag {tag!r}, reference {case['want']!r}"
    tag = _tag_of(case["template"]) if "template" in case else case["tag"]
    if tag != case["tag"]:
        return f"tag {tag!r}, reference {case['tag']!r}"
    tools = tools_of(case)
    ours = one_total(lambda: pick_parser(tools=tools, tool_tag=tag), case)
    if isinstance(ours, str):
        return ours
    total = {**case["total"], "thinking": ""}
    total["content"] += total["final_content"]
    others = [replay(case["adds"][name]) for name in case["adds"]]
    verdict = compare(ours, total, others, case["output"])
    if verdict is None:
        return None
    return Deliberate(verdict) if verdict.is_deliberate else str(verdict)


def _tag_of(template: str) -> str:
    from mlx_ollama.prompt.go_template import tool_tag

    return tool_tag(template)
