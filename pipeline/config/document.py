"""Writes docs/SETTINGS.md from the settings: their names, defaults, values and descriptions.

    python -m pipeline.config.document docs/SETTINGS.md [--check]

Each table is a section. What several stages have is written once, and so is what a list or a map
of tables holds.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import typer
from pydantic import BaseModel, Field

from pipeline.config.desk import TokenSettings
from pipeline.config.notifications import WebhookSettings
from pipeline.config.settings import INSTEAD, Settings
from pipeline.config.stages import (
    KINDS,
    Agent,
    Extracting,
    ExtraField,
    FileSettings,
    GeneralSettings,
    Label,
    StageSettings,
    StagesSettings,
)
from pipeline.config.tables import (
    EndpointSettings,
    ModelSettings,
    Section,
    StagePrivacySettings,
    TenantLimitSettings,
    TierSettings,
    TokenPrices,
)

_ABOUT = """# Settings

Written by `make settings` from [pipeline/config](../pipeline/config): do not edit it.

A setting is looked for in the environment, then in the files of `promoted/`, then in \
`pipeline.toml`, in the working directory; otherwise its default holds. \
[Some](OPERATIONS.md#rolling-out-a-change) are taken up while a process runs. \
In the environment lists and tables are JSON. A name that is not a \
setting is refused at the start, and one that was a setting with what to do \
[instead](#settings-that-there-were). `pipeline doctor` says whether settings fit each other, the \
brokers and the API.

`ANTHROPIC_...` is read by Anthropic's SDK, `AWS_...` by boto3, `GOOGLE_...` by google-auth, \
`AZURE_...` by azure-identity, `OTEL_...` by OpenTelemetry; they mean here what they mean there.
"""
_HEAD = "| setting | in the environment | default | values | what it is |\n|---|---|---|---|---|"
_HEAD_OF_PARTS = "| name | default | values | what it is |\n|---|---|---|---|"
_PARTS: Mapping[str, type[BaseModel]] = {
    "A label": Label,
    "An agent": Agent,
    "A further field": ExtraField,
    "Prices of a model": TokenPrices,
    "What is masked in a stage": StagePrivacySettings,
    "Limits of a tenant": TenantLimitSettings,
    "A token of the desk": TokenSettings,
    "A webhook": WebhookSettings,
}
"""What lists and maps hold, as far as it is not a table that has a section of its own."""
_MIB = 1 << 20


def document() -> str:
    return "\n".join([_ABOUT, *_sections()])


def _sections() -> Iterator[str]:
    top = [name for name in Settings.model_fields if name not in _tables(Settings)]
    yield from _of_table("", Settings, top)
    for name, table in _tables(Settings).items():
        if table is StagesSettings:
            yield from _of_stages()
        elif table is ModelSettings:
            names = (*EndpointSettings.model_fields, *TierSettings.__annotations__)
            tiers = ", ".join(table.model_fields)
            yield _section(f"`[{name}.<tier>]`: {tiers}", f"{name}.<tier>", TierSettings, names)
        else:
            yield from _of_table(name, table, table.model_fields)
    for heading, part in _PARTS.items():
        yield _section(heading, None, part, part.model_fields)
    yield "## Settings that there were\n\n| setting | instead |\n|---|---|"
    yield "".join(f"| `{name}` | {instead} |\n" for name, instead in sorted(INSTEAD.items()))


def _of_stages() -> Iterator[str]:
    """What stages have alike, what makes one more, then what each has for itself."""
    for shared in (StageSettings, Extracting, FileSettings, GeneralSettings):
        having = [name for name, table in KINDS.items() if issubclass(table, shared)]
        which = "every stage" if len(having) == len(KINDS) else ", ".join(having)
        yield from _of_table("stages.<stage>", shared, shared.__annotations__, f": {which}")
    yield from _of_table("stages.<stage>", OfAKind, OfAKind.model_fields, ": with a name of yours")
    for name, table in KINDS.items():
        if not table.__annotations__:
            continue
        if name in StagesSettings.model_fields:
            yield from _of_table(f"stages.{name}", table, table.__annotations__)
        else:
            note = f": of the kind {name}"
            yield from _of_table("stages.<stage>", table, table.__annotations__, note)


class OfAKind(Section):
    """One more stage: a table with a name of its own, which has all settings of its kind.

    It stands beside those that come with the pipeline, with topics, group, metrics of its own.
    """

    kind: str = Field(
        description="which kind of stage it is; a class of `stage_modules` is one, too",
        json_schema_extra={"enum": [*KINDS]},
    )


def _of_table(
    path: str, table: type[BaseModel], names: Iterable[str], note: str = ""
) -> Iterator[str]:
    inner = {name: each for name, each in _tables(table).items() if name in names}
    heading = f"`[{path}]`{note}" if path else "At the top"
    yield _section(heading, path, table, [name for name in names if name not in inner])
    for name, each in inner.items():
        yield from _of_table(f"{path}.{name}", each, each.model_fields, note)


def _tables(table: type[BaseModel]) -> dict[str, type[BaseModel]]:
    kinds = {name: field.annotation for name, field in table.model_fields.items()}
    return {
        name: kind
        for name, kind in kinds.items()
        if isinstance(kind, type) and issubclass(kind, BaseModel)
    }


def _section(heading: str, path: str | None, table: type[BaseModel], names: Iterable[str]) -> str:
    """A heading, what the class says of itself, and a row a setting; without a path: of a part."""
    schema = table.model_json_schema()["properties"]
    rows = [_row(name, path, table, schema[name]) for name in names]
    head = _HEAD_OF_PARTS if path is None else _HEAD
    about = " ".join((table.__doc__ or "").split())
    return "\n".join([f"## {heading}", "", about, "", head, *rows, ""])


def _row(name: str, path: str | None, table: type[BaseModel], schema: Mapping[str, Any]) -> str:
    cells = [f"`{name}`", _default(table, name, schema), _values(schema), schema["description"]]
    if path is not None:
        steps = [step for step in (*path.split("."), name) if step]
        cells.insert(1, f"`PIPELINE_{'__'.join(steps).upper()}`")
    return f"| {' | '.join(cells)} |"


def _default(table: type[BaseModel], name: str, schema: Mapping[str, Any]) -> str:
    field = table.model_fields[name]
    if field.is_required():
        return str(schema.get("without", "needed"))
    match field.get_default(call_default_factory=True):
        case None:
            shown = "unset"
        case "":
            shown = "empty"
        case [Label(), *_] as labels:
            shown = ", ".join(f"`{label.name}`" for label in labels)
        case bool() | list() | dict() as value:
            shown = f"`{orjson.dumps(value).decode()}`"
        case int() as value if schema.get("unit") == "bytes":
            shown = f"`{value}` ({value / _MIB:g} MiB)"
        case value:
            shown = f"`{value}`"
    return shown


def _values(schema: Mapping[str, Any]) -> str:
    """What a setting may be, by its JSON Schema."""
    if kinds := schema.get("anyOf"):
        # The others are `null`, which is unset, and the text that a decimal number may be, too.
        return _values({**schema, "anyOf": None, **kinds[0]})
    match schema:
        case {"$ref": _}:
            shown = "table"
        case {"enum": allowed}:
            shown = ", ".join(f"`{value}`" for value in allowed)
        case {"type": "integer" | "number" as kind}:
            noun = schema.get("unit") or {"integer": "whole number", "number": "number"}[kind]
            bounds = [f"{word} {schema[key]:g}" for key, word in _BOUNDS.items() if key in schema]
            shown = " ".join([noun, *bounds])
        case {"type": "boolean"}:
            shown = "`true`, `false`"
        case {"items": items}:
            shown = "list of tables" if "$ref" in items else f"list: {_values(items)}"
        case {"additionalProperties": {"$ref": _}}:
            shown = "table of tables"
        case {"additionalProperties": inner}:
            shown = f"table: {_values(inner)}"
        case _:
            shown = "path" if schema.get("format") == "path" else "text"
    return shown


_BOUNDS = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to"}


def main(path: Path, *, check: bool = False) -> None:
    """Write docs/SETTINGS.md from the settings, or only fail if it is stale."""
    written = document()
    if not check:
        path.write_text(written, "utf-8")
    elif not path.exists() or path.read_text("utf-8") != written:
        sys.exit(f"{path} is not what the settings say: run `make settings`.")


if __name__ == "__main__":
    typer.run(main)
