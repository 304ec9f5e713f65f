"""What `show` prints of a model: a section a subject."""

from collections.abc import Iterator, Mapping
from typing import Any

from mlx_ollama.cli.tables import Row, table, width
from mlx_ollama.prompt.go_strconv import format_float
from mlx_ollama.store.humanise import human_number

LONG_LINES = 100  # of a system prompt or licence
LINES_SHOWN = 2
_LIST_WIDTH, _LIST_ITEMS = 10, 3


def show_text(response: Mapping[str, Any], *, verbose: bool = False) -> str:
    """The answer of `/api/show` (parsed JSON) for a terminal."""
    sections: dict[str, list[Row]] = {
        "Model": list(_model(response)),
        "Capabilities": [[name] for name in response.get("capabilities") or ()],
        "Projector": list(_projector(response.get("projector_info") or {})),
        "Parameters": [line.split() for line in response.get("parameters", "").splitlines()],
    }
    if verbose:
        sections["Metadata"] = [
            [key, value_text(value)]
            for key, value in sorted((response.get("model_info") or {}).items())
        ]
        sections["Tensors"] = [
            [tensor["name"], tensor["type"], f"[{' '.join(map(str, tensor['shape']))}]"]
            for tensor in response.get("tensors") or ()
        ]
    text = "".join(_section(title, rows) for title, rows in sections.items())
    for title in ("System", "License"):
        lines = _head(response.get(title.lower(), ""), None if verbose else LINES_SHOWN)
        text += _section(title, [[line] for line in lines], LONG_LINES)
    return text


def _section(title: str, rows: list[Row], limit: int = 30) -> str:
    rows = [["", *row] for row in rows if row]
    return f"  {title}\n{table(rows, limit=limit)}\n" if rows else ""


def _model(response: Mapping[str, Any]) -> Iterator[Row]:
    details, info = response.get("details") or {}, response.get("model_info")
    if response.get("remote_host"):
        yield ["Remote model", response.get("remote_model", "")]
        yield ["Remote URL", response["remote_host"]]
    if info is None:
        yield ["architecture", details.get("family", "")]
        yield ["parameters", details.get("parameter_size", "")]
    else:
        yield from _measures(info, details.get("parameter_size", ""))
    yield ["quantization", details.get("quantization_level", "")]
    if response.get("requires"):
        yield ["requires", response["requires"]]


def _measures(info: Mapping[str, Any], size: str) -> Iterator[Row]:
    architecture = info.get("general.architecture", "")
    if architecture:
        yield ["architecture", architecture]
    if size or "general.parameter_count" in info:
        yield ["parameters", size or human_number(int(info["general.parameter_count"]))]
    for label in ("context length", "embedding length"):
        value = info.get(f"{architecture}.{label.replace(' ', '_')}")
        if value is not None:
            yield [label, format_float(float(value), "f")]


def _projector(info: Mapping[str, Any]) -> Iterator[Row]:
    architecture = info.get("general.architecture", "")
    if architecture:
        yield ["architecture", architecture]
    if info.get("general.parameter_count") is not None:
        yield ["parameters", human_number(int(info["general.parameter_count"]))]
    for label, key in (("embedding length", "embedding_length"), ("dimensions", "projection_dim")):
        for tower in ("vision", "audio"):
            value = info.get(f"{architecture}.{tower}.{key}")
            if value is not None:
                yield [label, format_float(float(value), "f")]
                break


def value_text(value: Any) -> str:
    """A metadata value; of a list the beginning."""
    if isinstance(value, list):
        return _list_text(value)
    if isinstance(value, dict):
        return "map[string]interface {}"
    return _plain(value)


def _plain(value: Any) -> str:
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    return format_float(float(value)) if isinstance(value, int | float) else str(value)


def _list_text(items: list[Any]) -> str:
    shown: list[str] = []
    for item in map(_plain, items[:_LIST_ITEMS]):
        if shown and 1 + width(" ".join([*shown, item])) > _LIST_WIDTH:
            break
        shown.append(item)
    rest = len(items) - len(shown)
    more = f" ...+{rest} more" if rest else ""
    return f"[{' '.join(shown)}{more}]"


def _head(text: str, count: int | None) -> list[str]:
    """The first lines that are not blank; all when `count` is None."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if count is None or len(lines) <= count:
        return lines
    return [*lines[:count], "..."]
