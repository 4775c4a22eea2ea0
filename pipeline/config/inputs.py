"""The topics that a team has already: `[stages.<stage>.input]`, `.map`, `.output`, `[registry]`.

What is set here says where a stage's records come from and in which form, which of their fields
the stage reads, and where and in which form its results go.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, WithJsonSchema

from pipeline.config.tables import Section, setting
from pipeline.model.expressions import Expression

InputFormat = Literal["json", "registry", "email", "text"]
InputEnvelope = Literal["cloudevents", "debezium"]
OutputFormat = Literal["json", "avro", "json_schema", "protobuf"]


class InputSettings(Section):
    """Where a stage's raw records come from, and in which form."""

    topics: list[str] = setting([], "topics that are read, as they are called; else `<stage>.raw`")
    pattern: str | None = setting(None, "a regular expression: topics whose whole name it matches")
    format: InputFormat = setting(
        "json", "`registry`: Avro, JSON Schema or Protobuf, as the schema registry says"
    )
    envelope: InputEnvelope | None = setting(
        None, "what is around the event; CloudEvents in JSON are seen without it"
    )


class OutputSettings(Section):
    """Where a stage's results go, and in which form."""

    topic: str | None = setting(None, "as it is called; else `<stage>.enriched`")
    format: OutputFormat = setting("json", "of the enriched record")


class RegistrySettings(Section):
    """The schema registry: one that speaks Confluent's API."""

    url: str | None = setting(None, pattern=r"^https?://", description="where it is")


@dataclass(frozen=True, slots=True)
class MappedField:
    """A field that the stage reads, and where its value is in what comes.

    `path` are its names from the outermost on. Several `parts`, or one with a heading, are joined
    as a text, each under its heading; a heading is empty where there is none.
    """

    path: tuple[str, ...]
    parts: tuple[tuple[str, Expression], ...]

    @property
    def name(self) -> str:
        return ".".join(self.path)

    @property
    def is_joined(self) -> bool:
        return len(self.parts) > 1 or bool(self.parts[0][0])

    @property
    def is_literal(self) -> bool:
        """Whether it is the same whatever comes."""
        return all(expression.is_literal for _, expression in self.parts)


def mapped_fields(mapping: Mapping[str, Any]) -> Iterator[MappedField]:
    """Read `[stages.<stage>.map]`; raises `ValueError`, which names the field, if it is wrong."""
    for name, given in mapping.items():
        nested = given.items() if isinstance(given, Mapping) else [(None, given)]
        for inner, value in nested:
            path = (name,) if inner is None else (name, inner)
            try:
                yield MappedField(path, _parts(value))
            except ValueError as error:
                raise ValueError(f"{'.'.join(path)}: {error}") from None


def _parts(given: object) -> tuple[tuple[str, Expression], ...]:
    if given == []:
        raise ValueError("an empty list: give it at least one expression")
    return tuple(map(_part, given if isinstance(given, list) else [given]))


def _part(given: object) -> tuple[str, Expression]:
    match given:
        case str():
            return "", Expression(given)
        case {"heading": str(heading), "value": str(value), **rest} if not rest:
            return heading, Expression(value)
    raise ValueError(
        "an expression is needed, a list of expressions, or in a list "
        '{heading = "...", value = "expression"}'
    )


def passed_on(pass_through: list[Any]) -> Iterator[tuple[str, Expression]]:
    """Read `pass_through`: names below `source.extra`, and what is there; raises `ValueError`."""
    for given in pass_through:
        match given:
            case str():
                expression = Expression(given)
                if not (path := expression.path):
                    raise ValueError(
                        f'`{given}` has no name of its own: write {{name = "...", value = "..."}}'
                    )
                yield path[-1], expression
            case {"name": str(name), "value": str(value), **rest} if not rest:
                yield name, Expression(value)
            case _:
                raise ValueError('an expression or {name = "...", value = "expression"} is needed')


def _checked_map(mapping: dict[str, Any]) -> dict[str, Any]:
    list(mapped_fields(mapping))
    return mapping


def _checked_where(where: str) -> str:
    Expression(where)
    return where


def _checked_pass_through(pass_through: list[Any]) -> list[Any]:
    names = [name for name, _ in passed_on(pass_through)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two of the same name: {', '.join(twice)}")
    return pass_through


MapTable = Annotated[
    dict[str, Any],
    AfterValidator(_checked_map),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string"}}),
]
Where = Annotated[str, AfterValidator(_checked_where)]
PassThrough = Annotated[
    list[Any],
    AfterValidator(_checked_pass_through),
    WithJsonSchema({"type": "array", "items": {"type": "string"}}),
]
