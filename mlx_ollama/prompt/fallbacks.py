"""Formats for models that bring none: told by the marks that their vocabulary has for turns.

A base model has no such marks; its prompt is the plain text, after the system text if there is one.
"""

from collections.abc import Collection

from mlx_ollama.prompt.conversation import Renderer
from mlx_ollama.prompt.go_template import GoTemplate
from mlx_ollama.prompt.renderers import renderer

_CHATML = """{{ range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
"""
_LLAMA3 = """{{ range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>

{{ .Content }}<|eot_id|>{{ end }}<|start_header_id|>assistant<|end_header_id|>

"""
_GEMMA = """{{ range $i, $_ := .Messages }}{{ if ne .Role "system" }}<start_of_turn>\
{{ if eq .Role "assistant" }}model{{ else }}{{ .Role }}{{ end }}
{{ if and (le $i 1) (eq .Role "user") $.System }}{{ $.System }}

{{ end }}{{ .Content }}<end_of_turn>
{{ end }}{{ end }}<start_of_turn>model
"""
_PHI = """{{ range .Messages }}<|{{ .Role }}|>
{{ .Content }}<|end|>
{{ end }}<|assistant|>
"""
_MISTRAL = """{{ range $i, $_ := .Messages }}{{ if eq .Role "user" }}[INST] \
{{ if and (le $i 1) $.System }}{{ $.System }}

{{ end }}{{ .Content }} [/INST]{{ else if eq .Role "assistant" }} {{ .Content }}</s>{{ end }}{{ end }}"""
_COMMAND = """{{ range .Messages }}<|START_OF_TURN_TOKEN|>\
{{ if eq .Role "system" }}<|SYSTEM_TOKEN|>{{ else if eq .Role "assistant" }}<|CHATBOT_TOKEN|>\
{{ else }}<|USER_TOKEN|>{{ end }}{{ .Content }}<|END_OF_TURN_TOKEN|>{{ end }}\
<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"""
_HARMONY = """<|start|>system<|message|>You are ChatGPT, a large language model trained by OpenAI.
Knowledge cutoff: 2024-06
Current date: {{ currentDate }}

Reasoning: {{ if eq .ThinkLevel "max" }}high{{ else if .ThinkLevel }}{{ .ThinkLevel }}{{ else }}medium{{ end }}

# Valid channels: analysis, commentary, final. Channel must be included for every message.<|end|>\
{{ if .System }}<|start|>developer<|message|># Instructions

{{ .System }}<|end|>{{ end }}{{ range .Messages }}{{ if eq .Role "user" }}<|start|>user<|message|>\
{{ .Content }}<|end|>{{ else if eq .Role "assistant" }}<|start|>assistant<|channel|>final<|message|>\
{{ .Content }}<|end|>{{ end }}{{ end }}<|start|>assistant"""
_PLAIN = "{{ if .System }}{{ .System }}\n\n{{ end }}{{ .Prompt }}"

# All marks of an entry must be in the vocabulary; the first entry that fits is taken.
_TEMPLATES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("<|start|>", "<|channel|>", "<|message|>"), _HARMONY),
    (("<|START_OF_TURN_TOKEN|>", "<|CHATBOT_TOKEN|>"), _COMMAND),
    (("<|start_header_id|>", "<|eot_id|>"), _LLAMA3),
    (("<|im_start|>", "<|im_end|>"), _CHATML),
    (("<start_of_turn>", "<end_of_turn>"), _GEMMA),
    (("<|user|>", "<|assistant|>", "<|end|>"), _PHI),
    (("[INST]", "[/INST]"), _MISTRAL),
)
_BUILTIN: tuple[tuple[tuple[str, ...], str], ...] = (
    (("<|turn>", "<turn|>"), "gemma4"),
    (("<｜User｜>", "<｜Assistant｜>"), "deepseek3.1"),
    (("[gMASK]", "<sop>", "<|observation|>"), "glm-4.7"),
)


def fallback(vocabulary: Collection[str]) -> Renderer:
    """The format whose marks are all among the vocabulary's texts."""
    for marks, name in _BUILTIN:
        if all(mark in vocabulary for mark in marks):
            return renderer(name)
    for marks, text in _TEMPLATES:
        if all(mark in vocabulary for mark in marks):
            return GoTemplate.parse(text)
    return GoTemplate.parse(_PLAIN)
