"""The generic tool parser: our total against the reference's; its `final_content` is what it gives at the end."""

from typing import Any

from mlx_ollama.parsers.output import pick_parser
from mlx_ollama.prompt.go_template import GoTemplate
from tests.golden.parsers import evaluate_total, tools_of


def evaluate(case: dict[str, Any]) -> str | None:
    """What differs, or None."""
    if case["group"] == "tag_inference":
        tag = _tag_of(case["template"])
        return None if tag == case["want"] else f"tag {tag!r}, reference {case['want']!r}"
    tag = _tag_of(case["template"]) if "template" in case else case["tag"]
    if tag != case["tag"]:
        return f"tag {tag!r}, reference {case['tag']!r}"
    tools = tools_of(case)
    return evaluate_total(case, lambda: pick_parser(tools=tools, tool_tag=tag))


def _tag_of(template: str) -> str:
    return GoTemplate.parse(template).tool_tag
