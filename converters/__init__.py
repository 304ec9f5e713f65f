"""GGUF and Safetensors to MLX weights; start at `convert.py`. Knows nothing of mlx_ollama."""
