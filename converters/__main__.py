"""`python -m converters`, installed as `mlx-ollama-convert`."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from converters.errors import SourceError


@click.group(help="GGUF models to MLX weights.")
@click.version_option(package_name="mlx-ollama")
def main() -> None:
    """The command group."""


@main.command("convert")
@click.argument(
    "paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="SRC… OUT"
)
@click.option(
    "--dtype", type=click.Choice(["f32", "bf16", "f16"]), help="Of float tensors and scales."
)
@click.option(
    "--progress", type=click.Choice(["bar", "json", "none"]), default="bar", show_default=True
)
@click.option(
    "--compact/--exact",
    default=None,
    help="Requantise types that MLX lacks, or keep them as floats.",
)
@click.option(
    "--projector",
    "projectors",
    multiple=True,
    type=click.Path(path_type=Path),
    help="The file of a vision tower that goes with SRC.",
)
def convert_command(
    paths: tuple[Path, ...],
    dtype: Any,
    progress: str,
    compact: bool | None,
    projectors: tuple[Path, ...],
) -> None:
    """Write the model SRC (all parts of a split one) as the MLX directory OUT."""
    from converters.convert import convert

    *sources, out = paths
    if not sources:
        raise click.UsageError("SRC and OUT are both needed")
    try:
        convert(
            sources,
            out,
            projectors=projectors,
            dtype=dtype,
            compact=compact,
            progress=REPORTS[progress],
        )
    except (SourceError, OSError) as error:
        fail(describe(error), progress == "json")


@main.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--quantize", default="", help="q4_K_M, q8_0, int4, mxfp4, f16 …")
@click.option(
    "--progress", type=click.Choice(["bar", "json", "none"]), default="bar", show_default=True
)
def import_command(source: Path, out: Path, quantize: str, progress: str) -> None:
    """Write SOURCE as the tensor blobs of a created model into the new folder OUT.

    SOURCE: a checkpoint's folder, a GGUF of floats, or a JSON file of names and paths.
    """
    from converters.importing import import_model

    try:
        import_model(named_files(source), out, quantize=quantize, progress=REPORTS[progress])
    except (SourceError, OSError) as error:
        fail(describe(error), progress == "json")


@main.command("adapter")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("base", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--progress", type=click.Choice(["bar", "json", "none"]), default="bar", show_default=True
)
def adapter_command(source: Path, base: Path, out: Path, progress: str) -> None:
    """Hold the adapter SOURCE against its model BASE, and write the blob that it becomes into the new folder OUT.

    SOURCE, BASE: a folder, a GGUF, or a JSON file of names and paths.
    """
    from converters.adapters.fitting import import_adapter

    try:
        import_adapter(named_files(source), named_files(base), out)
    except (SourceError, OSError) as error:
        fail(describe(error), progress == "json")


def named_files(source: Path) -> dict[str, Path]:
    """The files of a source by their names."""
    from converters.safetensors.checkpoint import files_of

    if source.is_dir():
        return files_of(source)
    if source.suffix == ".json":
        return {name: Path(path) for name, path in json.loads(source.read_bytes()).items()}
    return {source.name: source}


@main.command("inspect")
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="SRC…")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--dtype", type=click.Choice(["f32", "bf16", "f16"]), help="As in convert.")
@click.option("--compact/--exact", default=None, help="As in convert.")
def inspect_command(
    sources: tuple[Path, ...], as_json: bool, dtype: Any, compact: bool | None
) -> None:
    """Show what SRC holds, and what it would become."""
    from converters import report

    try:
        found = report.describe(sources, dtype, compact)
        click.echo(json.dumps(found, indent=1) if as_json else report.table(found))
    except (SourceError, OSError) as error:
        fail(describe(error), as_json)


def describe(error: SourceError | OSError) -> str:
    """The text for the user; an operating system's error without its path."""
    if isinstance(error, OSError):
        return (error.strerror or type(error).__name__).lower()
    return str(error)


def fail(text: str, as_json: bool) -> Any:
    """The last line that anybody reads, and exit status 1."""
    if as_json:
        click.echo(json.dumps({"error": text}))
    else:
        click.echo(f"error: {text}", err=True)
    sys.exit(1)


def _report_json(phase: str, completed: int, total: int) -> None:
    click.echo(json.dumps({"phase": phase, "completed": completed, "total": total}))


def _report_bar(phase: str, completed: int, total: int) -> None:
    if not sys.stderr.isatty():
        return
    done = completed / total if total else 0.0
    width = 40
    filled = int(done * width)
    bar = "█" * filled + "·" * (width - filled)
    end = "\n" if phase == "done" else ""
    click.echo(
        f"\r{phase:<10} {bar} {done:4.0%}  {completed >> 20} of {total >> 20} MiB{end}",
        nl=False,
        err=True,
    )


REPORTS: dict[str, Callable[[str, int, int], None] | None] = {
    "json": _report_json,
    "bar": _report_bar,
    "none": None,
}

if __name__ == "__main__":
    main()
