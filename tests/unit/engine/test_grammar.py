"""What a format lets through, what it refuses, and that its answers always validate."""

import json
import random
from typing import Any

import jsonschema
import mlx.core as mx
import pytest

from mlx_ollama.engine import grammar
from mlx_ollama.engine.engine import Engine
from mlx_ollama.engine.grammar import Compiler, InvalidGrammar
from mlx_ollama.engine.sequence import Event, FaultEvent, Grammar, SamplingParams, TokenEvent
from tests.unit.engine.tiny import VOCABULARY, drain, model, request, run, tokens_of

END = 0
FIRST_BYTE = 1


def _byte_tokenizer() -> str:
    """One token a byte, in the byte-level alphabet, after an end token."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters, others = {b: chr(b) for b in visible}, 0
    for byte in range(256):
        if byte not in letters:
            letters[byte] = chr(256 + others)
            others += 1
    vocabulary = {"<end>": END} | {letters[b]: FIRST_BYTE + b for b in range(256)}
    level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": False,
    }
    return json.dumps(
        {
            "version": "1.0",
            "added_tokens": [
                {
                    "id": END,
                    "content": "<end>",
                    "special": True,
                    "single_word": False,
                    "lstrip": False,
                    "rstrip": False,
                    "normalized": False,
                }
            ],
            "pre_tokenizer": level,
            "decoder": level,
            "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
        }
    )


@pytest.fixture(scope="module")
def compiler() -> Compiler:
    return Compiler(_byte_tokenizer(), VOCABULARY, frozenset({END}))


def encode(text: str) -> list[int]:
    return [FIRST_BYTE + byte for byte in text.encode()]


def decode(tokens: list[int]) -> str:
    return bytes(t - FIRST_BYTE for t in tokens if t != END).decode("utf-8", "replace")


def allowed(constraint: Grammar) -> set[int]:
    mask = grammar.open_masks(1, VOCABULARY)
    constraint.fill(mask[0])
    return {t for t in range(VOCABULARY) if mask[0][t // 32] >> (t % 32) & 1}


def accepts(constraint: Grammar, text: str) -> bool:
    """Whether a text may come, and be all there is."""
    for token in encode(text):
        if token not in allowed(constraint):
            return False
        constraint.allow(token)
    return END in allowed(constraint)


def schema(value: Any) -> bytes:
    return json.dumps(value).encode()


PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{"a":1}', True),
        ('{"a": [1, {"b": null}], "c": "é\\n"}', True),
        ("{}", True),
        ("[1]", False),
        ('"text"', False),
        ("17", False),
        (" {}", False),
        ('{"a":  1}', False),
        ("{\n", False),
    ],
)
def test_json_means_an_object_with_bounded_blanks(
    compiler: Compiler, text: str, wanted: bool
) -> None:
    assert accepts(compiler.compile(b'"json"'), text) is wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{"name": "Anna", "age": 7}', True),
        ('{"name":"Anna","age":7}', True),
        ('{"name": "Anna"}', False),
        ('{"name": "Anna", "age": 7.5}', False),
        ('{"name": "Anna", "age": 7, "more": 1}', False),
    ],
)
def test_schema_is_kept(compiler: Compiler, text: str, wanted: bool) -> None:
    assert accepts(compiler.compile(schema(PERSON)), text) is wanted


def test_objects_put_together_from_several_schemas_stay_open(compiler: Compiler) -> None:
    parts = {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
            {"type": "object", "properties": {"b": {"type": "integer"}}, "required": ["b"]},
        ]
    }
    assert accepts(compiler.compile(schema(parts)), '{"a": 1, "b": 2}')


def test_further_properties_where_the_schema_says_so(compiler: Compiler) -> None:
    opened = {**PERSON, "additionalProperties": {"type": "boolean"}}
    assert accepts(compiler.compile(schema(opened)), '{"name": "A", "age": 1, "more": true}')


def test_object_may_have_a_thousand_optional_properties(compiler: Compiler) -> None:
    many = {str(n): {"type": "integer"} for n in range(1000)}
    grammar = compiler.compile(schema({"type": "object", "properties": many}))
    assert accepts(grammar, '{"7": 1, "998": 2}')


def test_format_annotations_do_not_refuse(compiler: Compiler) -> None:
    wanted = {"type": "object", "properties": {"format": {"type": "string", "format": "password"}}}
    assert accepts(compiler.compile(schema(wanted)), '{"format": "x"}')
    day = {"type": "string", "format": "date"}
    assert accepts(compiler.compile(schema(day)), '"2024-01-31"')
    assert not accepts(compiler.compile(schema(day)), '"someday"')


@pytest.mark.parametrize(
    "wanted",
    [
        b'"xml"',
        b"[]",
        b"3",
        b"{",
        b'{"type": "foo"}',
        b'{"type": "object", "properties": 5}',
        b'{"$ref": "http://example.com/schema"}',
        b'{"$ref": "#/nowhere"}',
        b'{"type": "string", "pattern": "(?=a)"}',
        b'{"type": "string", "pattern": "("}',
        b'{"type": "array", "uniqueItems": true}',
        b'{"not": {"type": "string"}}',
        b'{"enum": ' + b"[" * 3000 + b"]" * 3000 + b"}",
        b'{"type": "object", "properties": {"a": ' * 2000,
        b'{"const": "' + b"x" * (300 << 10) + b'"}',
        b'{"$ref": "#"}',
        b'{"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}',
        b'{"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}',
    ],
)
def test_unusable_format_is_refused_with_a_reason(compiler: Compiler, wanted: bytes) -> None:
    with pytest.raises(InvalidGrammar, match=r"^invalid format: .") as error:
        compiler.compile(wanted)
    assert len(str(error.value)) < 2000
    assert accepts(compiler.compile(b'"json"'), "{}")


def test_a_pattern_that_is_none_is_refused_with_what_is_wrong_in_it(compiler: Compiler) -> None:
    with pytest.raises(InvalidGrammar, match="regex parse error: unclosed group"):
        compiler.compile(b'{"type": "string", "pattern": "("}')


def test_each_request_walks_its_own_way(compiler: Compiler) -> None:
    first, second = compiler.compile(schema(PERSON)), compiler.compile(schema(PERSON))
    for token in encode('{"name": "A", '):
        first.allow(token)
    assert accepts(second, '{"name": "B", "age": 2}')
    assert accepts(first, '"age": 1}')


# ---- in the engine

SCALARS: list[dict[str, Any]] = [
    {"type": "integer", "minimum": 0, "maximum": 99},
    {"type": "number", "minimum": -1, "maximum": 1},
    {"type": "boolean"},
    {"type": "null"},
    {"type": "string", "maxLength": 6},
    {"type": "string", "pattern": "^[a-z]{2,4}-[0-9]{2}$"},
    {"type": "string", "format": "date"},
    {"type": "string", "format": "ipv4"},
    {"enum": ["red", "green", 3, None]},
    {"const": {"a": [1, "x"]}},
    {"type": ["integer", "null"], "maximum": 5, "minimum": 1},
]


def random_schema(generator: random.Random, depth: int) -> dict[str, Any]:
    """Bounded, so that a random model finishes."""
    kind = generator.choice(["object", "array", "anyOf", "ref", "scalar"]) if depth else "scalar"
    if kind == "object":
        names = generator.sample(["a", "b", "long name", 'quo"te', "é", "$ref"], 3)
        return {
            "type": "object",
            "properties": {name: random_schema(generator, depth - 1) for name in names},
            "required": names[: generator.randrange(4)],
            "additionalProperties": False,
        }
    if kind == "array":
        least = generator.randrange(3)
        return {
            "type": "array",
            "items": random_schema(generator, depth - 1),
            "minItems": least,
            "maxItems": least + generator.randrange(2),
        }
    if kind == "anyOf":
        return {"anyOf": [random_schema(generator, depth - 1) for _ in range(2)]}
    if kind == "ref":
        return {"$defs": {"x": random_schema(generator, 0)}, "type": "array", "items": {
            "$ref": "#/$defs/x"}, "maxItems": 2}  # fmt: skip
    return generator.choice(SCALARS)


def test_completed_answers_validate(compiler: Compiler) -> None:
    """60 random schemas, four at a time, by a model that knows nothing of JSON."""
    generator = random.Random(1)
    wanted: list[dict[str, Any]] = []
    while len(wanted) < 60:
        candidate = random_schema(generator, 2)
        if "$defs" not in json.dumps(candidate) or "$defs" in candidate:
            wanted.append(candidate)
    requests = [
        request(
            i,
            [1, 2, i + 3],
            max_tokens=400,
            sampling=SamplingParams(seed=i),
            end_tokens=frozenset({END}),
            grammar=compiler.compile(schema(s)),
        )
        for i, s in enumerate(wanted)
    ]
    answers = run(Engine(model(), parallel=8, prefix_bytes=0), requests)
    finished = 0
    for i, tokens in answers.items():
        if tokens[-1] == END:
            jsonschema.validate(json.loads(decode(tokens)), wanted[i])
            finished += 1
    assert finished > 50


def test_constrained_rows_leave_others_alone(compiler: Compiler) -> None:
    free = [request(i, [i + 1, 2, 3], max_tokens=30) for i in range(3)]
    alone = run(Engine(model(), parallel=1), free)
    constrained = request(
        9,
        [5, 5],
        max_tokens=30,
        grammar=compiler.compile(schema(PERSON)),
        end_tokens=frozenset({0}),
    )
    together = run(Engine(model(), parallel=4), [free[0], constrained, *free[1:]], every=2)
    assert {i: together[i] for i in range(3)} == alone
    assert decode(together[9]).startswith('{"name":')


class Failing:
    is_finished = False

    def allow(self, token: int) -> None:
        raise grammar.GrammarFault("the grammar is too complex")

    def fill(self, mask: Any) -> None:
        pass


def test_failing_grammar_ends_its_request_only() -> None:
    expected = run(Engine(model()), [request(0, [1, 2])])
    engine = Engine(model(), parallel=2)
    engine.submit(request(0, [1, 2]))
    engine.submit(request(1, [3, 4], grammar=Failing()))
    events = drain(engine)
    assert FaultEvent(id=1, message="the grammar is too complex") in events
    assert tokens_of(e for e in events if e.id == 0) == expected


def test_grammar_that_starts_late_holds_from_the_very_next_token(compiler: Compiler) -> None:
    engine = Engine(model(), parallel=2)
    late = request(
        0, [1, 2], max_tokens=60, grammar=compiler.compile(schema(PERSON)), grammar_active=False
    )
    other = request(1, [3, 4], max_tokens=40, sampling=SamplingParams(seed=5))
    alone = run(Engine(model()), [other])
    free = run(Engine(model()), [request(0, [1, 2], max_tokens=60)])[0]
    engine.submit(late)
    engine.submit(other)
    events: list[Event] = []
    while len(tokens_of(events).get(0, [])) < 5:
        events += engine.step()
    engine.start_grammar(0)
    events += drain(engine)
    tokens = tokens_of(events)
    assert tokens[0][:5] == free[:5]
    assert decode(tokens[0][5:]).startswith('{"name":')
    assert tokens[1] == alone[1]


def test_answer_without_an_end_token_ends_with_the_schema(compiler: Compiler) -> None:
    engine = Engine(model())
    engine.submit(request(0, [1], max_tokens=50, grammar=compiler.compile(b'{"const": "ab"}')))
    events = [e for e in drain(engine) if isinstance(e, TokenEvent)]
    assert decode([e.token for e in events]) == '"ab"'
    assert events[-1].finish is not None


def test_mask_is_exact_where_the_vocabulary_is_no_multiple_of_32() -> None:
    mask = grammar.open_masks(2, 70)
    assert mask.shape == (2, 3)
    assert grammar.to_array(mask).dtype == mx.uint32


def test_token_out_of_place_is_a_fault_with_a_reason(compiler: Compiler) -> None:
    constraint = compiler.compile(b'"json"')
    with pytest.raises(grammar.GrammarFault, match=r"^the format could not be followed"):
        constraint.allow(FIRST_BYTE + ord("x"))
    with pytest.raises(grammar.GrammarFault, match=r"^the format could not be followed"):
        constraint.fill(grammar.open_masks(1, VOCABULARY)[0])
