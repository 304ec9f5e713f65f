"""mlx-ollama serve"""

import sys

import click
import uvloop

from mlx_ollama import config, logs


@click.command()
def serve() -> None:
    """Start the server."""
    from mlx_ollama.server.serve import PortInUse, serve as run_server

    settings = config.load()
    logs.configure(debug=settings.debug)
    try:
        uvloop.run(run_server(settings))
    except PortInUse as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
