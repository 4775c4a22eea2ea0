"""The names of all settings."""

from collections.abc import Iterator

from pydantic import BaseModel


def leaves(table: type[BaseModel], path: str = "") -> Iterator[str]:
    """Each as in `pipeline.toml`, with its tables before it."""
    for name, field in table.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from leaves(kind, f"{path}{name}.")
        else:
            yield path + name
