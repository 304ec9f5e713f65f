"""An Ollama-compatible LLM server, native to Apple silicon."""

__version__ = "0.1.0"
