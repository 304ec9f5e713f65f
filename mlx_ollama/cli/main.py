"""The command group."""

import click

from mlx_ollama import __version__
from mlx_ollama.cli.serve import serve


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-v", "--version", message="mlx-ollama version is %(version)s")
def cli() -> None:
    """Large language models on this Mac, spoken to as to Ollama."""


cli.add_command(serve)
