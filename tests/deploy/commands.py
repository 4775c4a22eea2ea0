"""The commands of `pipeline`, as its own command line knows them."""

from typing import Any

from typer.main import get_command

from pipeline.cli import app


def commands() -> dict[str, Any]:
    """Every command by its words, groups included: `lag`, `topics create`, ..."""
    return dict(_below(get_command(app), ""))


def _below(group: Any, prefix: str) -> list[tuple[str, Any]]:  # noqa: ANN401 - click's own types are not exported
    found = []
    for name, command in getattr(group, "commands", {}).items():
        found += [(prefix + name, command), *_below(command, f"{prefix}{name} ")]
    return found
