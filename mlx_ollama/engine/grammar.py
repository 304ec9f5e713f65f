"""JSON and JSON Schema as a mask over the next token, by llguidance."""

import json
import threading
from collections import OrderedDict
from typing import Any

import mlx.core as mx
import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from mlx_ollama.engine.sequence import Grammar, GrammarFault

MAX_SCHEMA = 256 << 10
MAX_CACHED = 64
LIMITS = LLParserLimits(max_items_in_row=50_000)
"""Objects of more than 500 optional properties are parsed too: four items each."""
LAYOUT = {"whitespace_flexible": False, "item_separator": ",[ ]?", "key_separator": ":[ ]?"}
"""One blank after a comma or colon and none elsewhere, so that a model cannot idle in blanks."""

Mask = np.ndarray[Any, np.dtype[np.uint32]]

ANY_OBJECT = {"type": "object"}
FORMATS = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri")
)
"""`format` values that constrain; any other is an annotation, as JSON Schema says."""

VALUES = frozenset(("const", "enum", "default", "examples"))
OPENERS = frozenset(
    ("additionalProperties", "unevaluatedProperties", "patternProperties", "anyOf", "oneOf", "$ref")
)


UNFOLLOWABLE = "nothing can satisfy the schema: it refers to itself without end"


class InvalidGrammar(ValueError):
    """The schema cannot be a constraint; its text is what the client reads."""


class SchemaGrammar:
    """One request's way through a schema. Lives on the engine thread."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher

    def allow(self, token: int) -> None:
        """Take the token that was sampled. Raises GrammarFault when it has no place."""
        if not self._matcher.consume_token(token):
            raise self._fault()

    def fill(self, mask: Mask) -> None:
        """Write the tokens that may come next, a bit a token. Raises GrammarFault."""
        self._matcher.unsafe_compute_mask_ptr(mask.ctypes.data, mask.nbytes)
        if self._matcher.is_error():
            raise self._fault()

    def _fault(self) -> GrammarFault:
        reason = _first_line(self._matcher.get_error()).lower()
        return GrammarFault(f"the format could not be followed any further: {reason}")

    @property
    def is_finished(self) -> bool:
        """Nothing but an end token may come."""
        return self._matcher.is_stopped()


class Compiler:
    """Compiles formats for one vocabulary; thread-safe, so that a helper thread may use it.

    `tokenizer_json` is the tokenizer's file; `vocab_size` the width of the logits; `end_tokens` what
    ends an answer. Compiled grammars are cached by schema. Raises InvalidGrammar for a tokenizer of another kind.
    """

    def __init__(self, tokenizer_json: str, vocab_size: int, end_tokens: frozenset[int]) -> None:
        try:
            self._tokenizer = LLTokenizer(
                tokenizer_json,
                n_vocab=vocab_size,
                eos_token=sorted(end_tokens) or None,
                slices=LLTokenizer.json_slices(),
            )
        except ValueError:
            reason = "invalid format: this model's tokenizer cannot be constrained"
            raise InvalidGrammar(reason) from None
        self._vocab_size = vocab_size
        self._compiled: OrderedDict[bytes, LLMatcher] = OrderedDict()
        self._lock = threading.Lock()

    def compile(self, format_json: bytes) -> Grammar:
        """`format_json` is the request's `format`: `"json"` or a schema object.

        Raises InvalidGrammar for a schema that is invalid, too large or not supported.
        """
        with self._lock:
            matcher = self._compiled.get(format_json)
            if matcher is None:
                matcher = self._compile(_schema(format_json))
                self._compiled[format_json] = matcher
                if len(self._compiled) > MAX_CACHED:
                    self._compiled.popitem(last=False)
            self._compiled.move_to_end(format_json)
            return SchemaGrammar(matcher.deep_copy())

    def _compile(self, schema: dict[str, Any]) -> LLMatcher:
        try:
            grammar = LLMatcher.grammar_from_json_schema(
                json.dumps(_usable(schema, closed=not _combines(schema))),
                overrides={**LAYOUT, "lenient": False},  # type: ignore[typeddict-item]
            )
        except (ValueError, RecursionError) as error:
            raise InvalidGrammar(f"invalid format: {_first_line(error)}") from None
        matcher = LLMatcher(self._tokenizer, grammar, log_level=0, limits=LIMITS)
        self._check(matcher)
        return matcher

    def _check(self, matcher: LLMatcher) -> None:
        """Some grammars, such as a reference to itself, show only at the first mask that nothing can follow them."""
        if not matcher.is_error():
            trial, mask = matcher.deep_copy(), open_masks(1, self._vocab_size)
            trial.unsafe_compute_mask_ptr(mask.ctypes.data, mask.nbytes)
            matcher = trial
        if matcher.is_error():
            raise InvalidGrammar(f"invalid format: {_reason(matcher.get_error())}")


def _reason(error: object) -> str:
    line = _first_line(error)
    return UNFOLLOWABLE if line == "NoExtensionBias" else line


def _first_line(error: object) -> str:
    """With the last one where the first only announces it (`regex parse error:`)."""
    first, *rest = str(error).strip().splitlines() or ["no reason given"]
    if first.endswith(":") and rest:
        first += " " + rest[-1].strip().removeprefix("error: ")
    return first[:300]


def _schema(format_json: bytes) -> dict[str, Any]:
    if len(format_json) > MAX_SCHEMA:
        raise InvalidGrammar("invalid format: schema too large")
    try:
        value = json.loads(format_json)
    except (ValueError, RecursionError):
        raise InvalidGrammar("invalid format: not valid json") from None
    if value == "json":
        return ANY_OBJECT
    if not isinstance(value, dict):
        raw = json.dumps(format_json.decode("utf-8", "replace"))
        raise InvalidGrammar(
            f'invalid format: {raw}; expected "json" or a valid JSON Schema object'
        )
    return value


def _combines(schema: Any) -> bool:
    """Whether objects are put together from several schemas, each of which must stay open to the others."""
    if isinstance(schema, list):
        return any(_combines(item) for item in schema)
    if not isinstance(schema, dict):
        return False
    parts = schema.get("allOf")
    if isinstance(parts, list) and len(parts) + ("properties" in schema) > 1:
        return True
    return any(_combines(value) for value in schema.values())


def _usable(schema: Any, closed: bool) -> Any:
    """The schema without `format` values that say nothing about syntax; where it does not say otherwise,
    an object has the properties that it names and no more, as llama.cpp reads it."""
    if isinstance(schema, list):
        return [_usable(item, closed) for item in schema]
    if not isinstance(schema, dict):
        return schema
    usable = {
        key: value if key in VALUES else _usable(value, closed)
        for key, value in schema.items()
        if not (key == "format" and isinstance(value, str) and value not in FORMATS)
    }
    if closed and isinstance(schema.get("properties"), dict) and not OPENERS & schema.keys():
        usable["additionalProperties"] = False
    return usable


def open_masks(rows: int, vocab_size: int) -> Mask:
    """(rows, ceil(vocab / 32)) that let everything through; grammars fill their rows."""
    return np.full((rows, -(-vocab_size // 32)), 0xFFFFFFFF, dtype=np.uint32)


def to_array(mask: Mask) -> mx.array:
    return mx.array(mask)
