"""`pipeline version`."""

import typer


def version() -> None:
    """Print the version."""
    import pipeline

    typer.echo(pipeline.__version__)
