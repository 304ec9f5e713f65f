"""GGUF's vocabularies as tokenizer.json: one file a kind (`tokenizer.ggml.model`).

Written as JSON, without the `tokenizers` library: it can abort the process on hostile input.
"""
