"""One file a built-in format, by Ollama's names."""
