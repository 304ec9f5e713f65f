"""The generic thinking parser, and the tags inferred from Go templates."""

from typing import Any

from mlx_ollama.parsers.output import pick_parser
from tests.golden.__main__ import Deliberate
from tests.golden.differences import compare
from tests.golden.parsers import one_total, replay


def evaluate(case: dict[str, Any]) -> str | None:
    """What differs, or None."""
    if case["group"] == "infer_tags":
        return _evaluate_tags(case)
    tags = (case["open"], case["close"])
    ours = one_total(lambda: pick_parser(think=True, thinking_tags=tags), case)
    if isinstance(ours, str):
        return ours
    total = {**case["total"], "tool_calls": []}
    others = [replay(case["adds"][name]) for name in case["adds"]]
    verdict = compare(ours, total, others, case["output"])
    if verdict is None:
        return None
    return Deliberate(verdict) if verdict.is_deliberate else str(verdict)


def _evaluate_tags(case: dict[str, Any]) -> str | None:
    from mlx_ollama.prompt.go_template import thinking_tags

    want = case["want"]
    ours = thinking_tags(case["template"])
    return None if ours == (want["open"], want["close"]) else f"tags {ours}, reference {want}"
