"""Recorded exchanges: sent again, and every difference named. The format is that of the recordings' README."""

import gzip
import http.client
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

Exchange = dict[str, Any]

_MASKS: dict[str, Any] = {"<time>": str, "<ns>": (int, float), "<epoch>": int}
_DURATIONS = {"load_duration", "prompt_eval_duration", "eval_duration", "total_duration"}
# What depends on the text that a model gave.
_GENERATED = {
    "response",
    "content",
    "text",
    "thinking",
    "context",
    "eval_count",
    "done_reason",
    "finish_reason",
    "stop_reason",
    "logprob",
    "token",
    "bytes",
    "top_logprobs",
    "logprobs",
    "completion_tokens",
    "output_tokens",
    "total_tokens",
    "delta",
    "arguments",
    "input_tokens",
    "tool_calls",
    "status",
    "incomplete_details",
    "sequence_number",
    "item_id",
}
_SIZES = {"size", "size_vram", "digest", "context_length", "embedding_length"}
TOLERANCE = 2e-3


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def load(path: Path) -> list[Exchange]:
    """The exchanges of a file of JSON lines, packed or not."""
    content = path.read_bytes()
    text = gzip.decompress(content) if path.suffix == ".gz" else content
    return [json.loads(line) for line in text.decode().splitlines()]


def send(port: int, request: dict[str, Any], files: dict[str, Path]) -> Answer:
    """The answer of the server on that port of this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = dict(request.get("headers") or {})
    body = _body(request, files)
    is_chunked = headers.get("Transfer-Encoding") == "chunked"
    connection.putrequest(
        request["method"],
        request["path"],
        skip_host="Host" in headers,
        skip_accept_encoding=True,
    )
    if body is not None and not is_chunked:
        headers["Content-Length"] = str(len(body))
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    if body is not None:
        _send_body(connection, body, is_chunked=is_chunked)
    answer = connection.getresponse()
    found = Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    connection.close()
    return found


def _body(request: dict[str, Any], files: dict[str, Path]) -> bytes | None:
    if "json" in request:
        return json.dumps(request["json"], ensure_ascii=False).encode()
    if "generate" in request:  # text, then twice a text repeated, then text
        first, second, twice, third, thrice, last = request["generate"]
        return (first + second * twice + third * thrice + last).encode()
    if "raw" in request:
        return request["raw"].encode()
    return files[request["file"]].read_bytes() if "file" in request else None


def _send_body(connection: http.client.HTTPConnection, body: bytes, *, is_chunked: bool) -> None:
    try:
        if is_chunked:
            connection.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        else:
            connection.send(body)
    except (BrokenPipeError, ConnectionResetError):
        pass  # an early answer may be there already


def differences(exchange: Exchange, answer: Answer) -> list[str]:
    """What is not as recorded; nothing for an exchange in which we deviate on purpose."""
    if exchange.get("deviation"):
        return []
    wanted = exchange["status"]
    if answer.status not in (wanted if isinstance(wanted, list) else [wanted]):
        return [f"status: want {wanted}, got {answer.status} {answer.body[:160]!r}"]
    free = set(exchange.get("free", ()))
    try:
        return [*_header_differences(exchange, answer), *_body_differences(exchange, answer, free)]
    except (ValueError, KeyError, IndexError) as problem:
        return [f"body cannot be read as recorded: {problem!r}: {answer.body[:200]!r}"]


def _header_differences(exchange: Exchange, answer: Answer) -> Iterator[str]:
    for name, wanted in exchange.get("headers", {}).items():
        got = answer.headers.get(name, "")
        if _parts(wanted) != _parts(got) and not isinstance(exchange["status"], list):
            yield f"header {name}: want {wanted!r}, got {got!r}"


def _parts(header: str) -> list[str]:
    """Without the character set, which errors have or not by the place that they come from."""
    return sorted(part.strip().lower() for part in header.split(";")[0].split(","))


def _body_differences(exchange: Exchange, answer: Answer, free: set[str]) -> Iterator[str]:
    if "json" in exchange:
        yield from _compare(exchange["json"], json.loads(answer.body), free)
    elif "lines" in exchange:
        lines = [json.loads(line) for line in answer.body.splitlines()]
        yield from _line_differences(exchange["lines"], lines, free)
    elif "text" in exchange:
        if answer.body.decode() != exchange["text"]:
            yield f"text: want {exchange['text']!r}, got {answer.body[:200]!r}"
    elif exchange.get("empty") and answer.body.strip():
        yield f"body: want none, got {answer.body[:200]!r}"


def _line_differences(wanted: list[Any], got: list[Any], free: set[str]) -> Iterator[str]:
    if "layer digests" in free:
        a, b = _progress(wanted, free), _progress(got, free)
        if a != b:
            yield f"progress lines: want {a}, got {b}"
    elif "generated" in free:
        missing = _shapes(wanted) - _shapes(got)
        if missing:
            yield f"line shapes missing: {missing}, got {_shapes(got)}"
        yield from _compare(wanted[-1], got[-1], free, "last line")
    else:
        yield from _compare(wanted, got, free)


def _shapes(lines: list[Any]) -> set[tuple[str, ...]]:
    return {tuple(sorted(key for key in line if key not in _DURATIONS)) for line in lines}


def _progress(lines: list[Any], free: set[str]) -> list[str]:
    """The order of progress lines without digests and repetitions."""
    found: list[str] = []
    for line in lines:
        text = line.get("status") or _error(line, free)
        text = re.sub(r"(using existing|creating new) layer sha256:\w+", "layer", text)
        text = re.sub(r"(pulling|pushing) [0-9a-f]{12}", r"\1 <digest>", text)
        if not found or found[-1] != text:
            found.append(text)
    return found


def _error(line: dict[str, Any], free: set[str]) -> str:
    return "error" if "error text" in free else f"error: {line.get('error')}"


def _compare(
    wanted: Any, got: Any, free: set[str], where: str = "", key: str = ""
) -> Iterator[str]:
    """Every difference between a recorded value and the one received."""
    for applies, compare in _RULES:
        if applies(wanted, got, free, key):
            yield from compare(wanted, got, free, where, key)
            return


def _kind(value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return "number" if is_number else type(value).__name__


def _is_free(key: str, free: set[str]) -> bool:
    return ("generated" in free and key in _GENERATED) or ("sizes" in free and key in _SIZES)


def _compare_mask(wanted: Any, got: Any, free: set[str], where: str, key: str) -> Iterator[str]:
    if not isinstance(got, _MASKS[wanted]):
        yield f"{where}: want {wanted}, got {got!r}"


def _compare_floats(wanted: Any, got: Any, free: set[str], where: str, key: str) -> Iterator[str]:
    first = wanted["first"]
    if not isinstance(got, list) or len(got) != wanted["<floats>"]:
        yield f"{where}: want {wanted['<floats>']} floats, got {str(got)[:80]}"
    elif any(abs(a - b) > TOLERANCE for a, b in zip(first, got, strict=False)):
        yield f"{where}: want floats starting {first[:4]}, got {got[:4]}"


def _compare_long(wanted: Any, got: Any, free: set[str], where: str, key: str) -> Iterator[str]:
    is_same = isinstance(got, list) and len(got) == wanted["<list>"] and got[:8] == wanted["first"]
    if not isinstance(got, list) or not (is_same or "generated" in free):
        yield f"{where}: want a list of {wanted['<list>']}, got {str(got)[:80]}"


def _compare_kinds(wanted: Any, got: Any, free: set[str], where: str, key: str) -> Iterator[str]:
    if _kind(wanted) != _kind(got) and (not _is_free(key, free) or None not in (wanted, got)):
        yield f"{where}: want {wanted!r}, got {got!r}"[:400]


def _compare_objects(wanted: Any, got: Any, free: set[str], where: str, key: str) -> Iterator[str]:
    for name in wanted.keys() ^ got.keys():
        if name not in _DURATIONS and not ("generated" in free and name in _GENERATED):
            yield f"{where}.{name}: only in the {'recording' if name in wanted else 'answer'}"
    for name in wanted.keys() & got.keys():
        yield from _compare(wanted[name], got[name], free, f"{where}.{name}", name)


def _label(entry: dict[str, Any]) -> str:
    return entry.get("name") or entry.get("id") or ""


def _compare_listings(wanted: Any, got: Any, free: set[str], where: str, key: str) -> Iterator[str]:
    """By name; a list of running models may hold those that other exchanges have loaded."""
    have = {_label(entry): entry for entry in got}
    common = [entry for entry in wanted if _label(entry) in have]
    if not common or ("expires_at" not in wanted[0] and len(common) != len(wanted)):
        yield f"{where}: want {[_label(entry) for entry in wanted]}, got {list(have)}"
    for entry in common:
        yield from _compare(entry, have[_label(entry)], free, f"{where}[{_label(entry)}]")


def _compare_lists(wanted: Any, got: Any, free: set[str], where: str, key: str) -> Iterator[str]:
    if len(wanted) != len(got):
        yield f"{where}: want {len(wanted)} elements, got {len(got)}"
        return
    for index, (a, b) in enumerate(zip(wanted, got, strict=True)):
        yield from _compare(a, b, free, f"{where}[{index}]", key)


def _compare_numbers(wanted: Any, got: Any, free: set[str], where: str, key: str) -> Iterator[str]:
    if abs(wanted - got) > TOLERANCE * max(1, abs(wanted)):
        yield f"{where}: want {wanted!r}, got {got!r}"


def _compare_rest(wanted: Any, got: Any, free: set[str], where: str, key: str) -> Iterator[str]:
    if wanted == got or ("error text" in free and key in ("error", "message") and got):
        return
    has_free_order = "line order" in free and key in ("modelfile", "parameters")
    if has_free_order and _sorted_lines(wanted) == _sorted_lines(got):
        return
    if isinstance(wanted, str) and re.fullmatch(_pattern(wanted), str(got)):
        return
    yield f"{where}: want {wanted!r}, got {got!r}"[:600]


def _sorted_lines(text: str) -> list[str]:
    return sorted(re.sub(r"\S*/blobs/", "<store>/blobs/", line) for line in text.splitlines())


def _pattern(wanted: str) -> str:
    pattern = re.escape(wanted).replace("<id>", r"\w+").replace("<store>/", r"\S*?/")
    return pattern.replace(re.escape("<network error>"), ".*").replace("<network error>", ".*")


def _is_listing(wanted: Any, got: Any, free: set[str], key: str) -> bool:
    if key not in ("models", "data") or not isinstance(wanted, list) or not wanted:
        return False
    return isinstance(wanted[0], dict) and (
        "name" in wanted[0] or wanted[0].get("object") == "model"
    )


_Rule = tuple[Callable[[Any, Any, set[str], str], bool], Callable[..., Iterator[str]]]
_RULES: tuple[_Rule, ...] = (
    (lambda want, got, free, key: isinstance(want, str) and want in _MASKS, _compare_mask),
    (lambda want, got, free, key: isinstance(want, dict) and "<floats>" in want, _compare_floats),
    (lambda want, got, free, key: isinstance(want, dict) and "<list>" in want, _compare_long),
    (lambda want, got, free, key: _is_free(key, free) or _kind(want) != _kind(got), _compare_kinds),
    (lambda want, got, free, key: isinstance(want, dict), _compare_objects),
    (_is_listing, _compare_listings),
    (lambda want, got, free, key: isinstance(want, list), _compare_lists),
    (lambda want, got, free, key: _kind(want) == "number", _compare_numbers),
    (lambda want, got, free, key: True, _compare_rest),
)
