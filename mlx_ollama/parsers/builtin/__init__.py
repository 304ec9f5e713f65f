"""One file a built-in parser, by Ollama's names."""
