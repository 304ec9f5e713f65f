"""Cases printed by Ollama's own code, evaluated with ours: `python -m tests.golden FILE…`."""
