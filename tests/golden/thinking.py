"""The generic thinking parser, and the tags inferred from Go templates."""

from typing import Any

from mlx_ollama.parsers.output import pick_parser
from mlx_ollama.prompt.go_template import GoTemplate
from tests.golden.parsers import evaluate_total


def evaluate(case: dict[str, Any]) -> str | None:
    """What differs, or None."""
    if case["group"] == "infer_tags":
        return _evaluate_tags(case)
    tags = (case["open"], case["close"])
    return evaluate_total(case, lambda: pick_parser(think=True, thinking_tags=tags))


def _evaluate_tags(case: dict[str, Any]) -> str | None:
    want = case["want"]
    ours = GoTemplate.parse(case["template"]).thinking_tags
    return None if ours == (want["open"], want["close"]) else f"tags {ours}, reference {want}"
