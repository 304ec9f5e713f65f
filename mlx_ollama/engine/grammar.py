"""JSON and JSON Schema as a mask over the next token, by llguidance."""

from mlx_ollama.engine.sequence import Grammar


class InvalidGrammar(ValueError):
    """The schema cannot be a constraint; its text is what the client reads."""


class Compiler:
    """Compiles formats for one vocabulary; thread-safe, so that a helper thread may use it.

    `tokenizer_json` is the tokenizer's file; `vocab_size` the width of the logits; `end_tokens` what
    ends an answer. Compiled grammars are cached by schema (64 entries).
    """

    def __init__(self, tokenizer_json: str, vocab_size: int, end_tokens: frozenset[int]) -> None:
        raise NotImplementedError

    def compile(self, format_json: bytes) -> Grammar:
        """`format_json` is the request's `format`: `"json"` or a schema object.

        Raises InvalidGrammar for a schema that is invalid, too large or not supported.
        """
        raise NotImplementedError
