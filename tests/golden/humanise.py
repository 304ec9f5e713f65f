"""Numbers, times and tables for people, against what the `ollama` program prints."""

from typing import Any

from mlx_ollama.cli.humanise import (
    human_binary,
    human_bytes,
    human_duration,
    human_time,
    processor,
)
from mlx_ollama.cli.show_text import show_text
from mlx_ollama.cli.tables import table
from mlx_ollama.store.humanise import human_number

HEADERS = {
    "list": ["NAME", "ID", "SIZE", "MODIFIED"],
    "ps": ["NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"],
}


def evaluate(case: dict[str, Any]) -> str | None:
    got = OPERATIONS[case["op"]](case)
    return None if got == case["want"] else f"want {case['want']!r}, got {got!r}"


OPERATIONS = {
    "human_bytes": lambda case: human_bytes(case["input"]),
    "human_bytes2": lambda case: human_binary(case["input"]),
    "human_number": lambda case: human_number(case["input"]),
    "human_duration": lambda case: human_duration(case["ns"]),
    "human_time": lambda case: human_time(case["age_ns"]),
    "human_time_zero": lambda case: human_time(None, case["zero_value"]),
    "processor": lambda case: processor(case["size"], case["size_vram"]),
    "list_table": lambda case: table(case["rows"], HEADERS["list"]),
    "ps_table": lambda case: table(case["rows"], HEADERS["ps"]),
    "show_info": lambda case: show_text(case["response"], verbose=case["verbose"]),
}
