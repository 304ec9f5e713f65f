"""The content-addressed model store, in Ollama's layout."""
