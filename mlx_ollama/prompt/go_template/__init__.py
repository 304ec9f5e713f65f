"""Go's text/template as Ollama uses it: `GoTemplate.parse(text).render(conversation)`.

`lexer` > `parser` > `nodes` is the language; `values` and `formatting` are what Go's reflect and fmt do;
`evaluator` and `functions` run a template within bounds; `template` is Ollama's use of it.
"""

from mlx_ollama.prompt.go_template.template import GoTemplate

__all__ = ["GoTemplate"]
