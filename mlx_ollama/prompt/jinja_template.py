"""Chat templates of Hugging Face: Jinja, sandboxed and bounded."""

from typing import Any

from mlx_ollama.prompt.conversation import Conversation


class JinjaTemplate:
    """A compiled chat template.

    `source` is the template, or templates by name (`default`, `tool_use`, `rag` …), as tokenizer_config.json has
    them. `tokens` are the special tokens that templates name (`bos_token`, `eos_token`, …).
    """

    def __init__(
        self,
        source: str | dict[str, str],
        *,
        bos_token: str = "",
        eos_token: str = "",
        tokens: dict[str, str] | None = None,
    ) -> None:
        raise NotImplementedError

    @property
    def capabilities(self) -> list[str]:
        """`tools` and `thinking`, where the template speaks of them (contract 6.2)."""
        raise NotImplementedError

    def render(self, conversation: Conversation, **variables: Any) -> str:
        """The prompt with the generation prompt at its end; raises TemplateError."""
        raise NotImplementedError
