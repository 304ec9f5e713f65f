"""python -m mlx_ollama: the command line."""

from mlx_ollama.cli.main import cli

if __name__ == "__main__":
    cli()
