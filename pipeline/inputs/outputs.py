"""What is published of an enriched record where a stage's `output` says more than its topic.

The one place that serializes: a stage publishes the records that `ResultOutput` makes of the JSON
of the enriched one, all of them in the one outcome of the event. Schemas are registered by a
command, never by a running pipeline, which only looks up their ids.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import jmespath
import orjson
from jmespath.exceptions import JMESPathError
from pydantic import BaseModel

from pipeline.config.inputs import OutputFormat, RegistrySettings
from pipeline.config.stages import StageSettings
from pipeline.inputs.registry import Registered, SchemaRegistry
from pipeline.inputs.result_types import (
    UNWRITABLE,
    Column,
    Record,
    ResultSchema,
    columns,
    envelope_type,
    row,
    row_type,
)
from pipeline.model.errors import InvalidEvent, PipelineError, UsageError
from pipeline.model.records import DeadLetterReason

REGISTER = "pipeline schemas register"
Headers = tuple[tuple[str, bytes | None], ...]
_JSON_CONTENT = b"application/json"


class ResultStage(Protocol):
    """What is needed of a stage."""

    @property
    def name(self) -> str: ...

    @property
    def result_model(self) -> type[BaseModel]: ...


@dataclass(frozen=True, slots=True)
class Published:
    """A record to publish; `kind` is what CloudEvents call it."""

    topic: str
    kind: str
    key: bytes | None
    value: bytes = field(repr=False)
    content_type: bytes
    headers: Headers = field(repr=False)


@dataclass(frozen=True, slots=True)
class Target:
    """One record that is published of a result: where to, and as what.

    Without a `schema` it is plain JSON; with `columns` it is the flat record.
    """

    topic: str
    kind: Literal["enriched", "flat"]
    columns: tuple[Column, ...] | None = None
    schema: ResultSchema | None = None
    subject: str = ""


def targets(stage: ResultStage, settings: StageSettings, topic: str) -> list[Target]:
    """What is published of a stage's results, whose topic is `topic`; the first is its result.

    Raises:
        UsageError: A name cannot be in the format that is set, or the extra is not installed.
    """
    output = settings.output
    envelope = envelope_type(stage.result_model, settings)
    flat = columns(envelope)
    wanted: list[tuple[str, tuple[Column, ...] | None]] = [
        (topic, flat if output.shape == "flat" else None)
    ]
    if output.flat_topic is not None:
        wanted.append((output.flat_topic, flat))
    found = []
    for name, of in wanted:
        kind: Literal["enriched", "flat"] = "enriched" if of is None else "flat"
        if output.format == "json":
            found.append(Target(name, kind, of))
            continue
        record = envelope if of is None else row_type(of)
        namespace = f"haiku_pipeline.{stage.name}"
        schema = _schema_class(output.format)(record, namespace)
        subject = {
            "topic": f"{name}-value",
            "record": f"{namespace}.{record.name}",
            "topic_record": f"{name}-{namespace}.{record.name}",
        }[output.subject]
        found.append(Target(name, kind, of, schema, subject))
    return found


def _schema_class(format_: OutputFormat) -> Callable[[Record, str], ResultSchema]:
    try:
        from pipeline.inputs import result_schemas  # noqa: PLC0415
    except ImportError as error:
        raise UsageError(
            f'output.format = "{format_}" needs the extra `registry`: pip install '
            "'haiku-pipeline[registry]'."
        ) from error
    classes: Mapping[str, Callable[[Record, str], ResultSchema]] = {
        "avro": result_schemas.AvroSchema,
        "json_schema": result_schemas.JsonSchema,
        "protobuf": result_schemas.ProtobufSchema,
    }
    return classes[format_]


class ResultOutput:
    """Makes the records that are published of a stage's enriched ones.

    `prefixes` are what each of the `targets` begins with: its schema's id, framed.
    """

    def __init__(
        self,
        settings: StageSettings,
        targets: Sequence[Target],
        prefixes: Sequence[bytes],
    ) -> None:
        output = settings.output
        self._framed = list(zip(targets, prefixes, strict=True))
        self._key = None if output.key is None else jmespath.compile(output.key)
        self._headers = [(name, jmespath.compile(text)) for name, text in output.headers.items()]

    def records(self, key: bytes | None, value: bytes) -> list[Published]:
        """The records for an enriched one, given as JSON, that came of a record with this key.

        Raises:
            InvalidEvent: It is not of its schema, or has no such key as is set.
        """
        document = orjson.loads(value)
        if self._key is not None:
            key = _text_at(self._key, document)
            if key is None:
                raise _unpublishable("`output.key` finds nothing in it, or no text or number")
        headers: Headers = tuple(
            (name, text)
            for name, expression in self._headers
            if (text := _text_at(expression, document)) is not None
        )
        found = []
        for target, prefix in self._framed:
            content, type_ = value, _JSON_CONTENT
            if target.columns is not None or target.schema is not None:
                content = _serialized(target, prefix, document)
                type_ = _JSON_CONTENT if target.schema is None else target.schema.content_type
            found.append(Published(target.topic, target.kind, key, content, type_, headers))
        return found


def _serialized(target: Target, prefix: bytes, document: Mapping[str, Any]) -> bytes:
    content = document if target.columns is None else row(target.columns, document)
    if target.schema is None:
        return orjson.dumps(content)
    try:
        written = target.schema.write(content)
    except UNWRITABLE as error:
        raise _unpublishable(f"it is not of the schema of {target.subject}") from error
    return b"%b%b" % (prefix, written)


def _unpublishable(why: str) -> InvalidEvent:
    detail = f"The result cannot be published: {why}. See [stages.<stage>.output] in the settings."
    return InvalidEvent(DeadLetterReason.STAGE_FAILED, detail)


def _text_at(expression: Any, document: Mapping[str, Any]) -> bytes | None:  # noqa: ANN401
    try:
        found = expression.search(document)
    except JMESPathError as error:
        raise _unpublishable("an expression of `output.key` or `.headers` fails over it") from error
    if isinstance(found, str):
        return found.encode()
    return orjson.dumps(found) if isinstance(found, bool | int | float) else None


async def open_outputs(
    stages: Mapping[str, ResultStage],
    settings: Mapping[str, StageSettings],
    topic_of: Callable[[str], str],
    registry: RegistrySettings,
) -> Mapping[str, ResultOutput]:
    """The outputs of those stages of which something is set, their schemas looked up.

    Raises:
        UsageError: The settings cannot be so.
        PipelineError: The registry does not have a schema as it is now, or cannot be asked.
    """
    found = {}
    for name, stage in stages.items():
        own = settings.get(name)
        if own is None or own.output.is_plain:
            continue
        wanted = targets(stage, own, topic_of(name))
        prefixes = [await _prefix_of(each, registry) for each in wanted]
        found[name] = ResultOutput(own, wanted, prefixes)
    return found


async def _prefix_of(target: Target, settings: RegistrySettings) -> bytes:
    schema = target.schema
    if schema is None:
        return b""
    registry = SchemaRegistry(settings)
    registered = await registry.lookup(target.subject, schema.kind, schema.text)
    if registered is None:
        has_others = await registry.latest(target.subject) is not None
        is_missing = "has other schemas only" if has_others else "is not in the schema registry"
        raise PipelineError(
            f"The subject {target.subject} {is_missing}, which the results on {target.topic} need: "
            f"run `{REGISTER}`, with --dry-run to see what it would do."
        )
    return b"\x00" + registered.id.to_bytes(settings.id_bytes, "big") + schema.prefix


@dataclass(frozen=True, slots=True)
class Registration:
    """What became of a subject, or would: `problems` are why it cannot be registered."""

    subject: str
    kind: str
    change: Literal["none", "first version", "next version", "incompatible"]
    id: int | None = None
    problems: tuple[str, ...] = ()

    def sentence(self, *, dry_run: bool) -> str:
        about = f"{self.subject} ({self.kind.lower()})"
        match self.change:
            case "none":
                return f"{about}: has it already, as {self.id}."
            case "incompatible":
                return (
                    f"{about}: not registered, since its readers or writers could not go on: "
                    f"{'; '.join(self.problems)} Choose another topic or subject, or change what "
                    "the subject allows."
                )
            case _ if self.id is None:
                would = "would be registered" if dry_run else "is not registered, as others are not"
                return f"{about}: {would}, as its {self.change}."
        return f"{about}: registered as {self.id}, its {self.change}."


async def register(
    wanted: Sequence[Target], settings: RegistrySettings, *, dry_run: bool
) -> list[Registration]:
    """Register the schemas that a registry does not have; none if one of them is incompatible.

    Raises:
        Unavailable: The registry cannot be asked.
        PipelineError: It refuses a schema.
    """
    registry = SchemaRegistry(settings)
    framed = [(each.subject, each.schema) for each in wanted if each.schema is not None]
    found = [await _plan(registry, subject, schema) for subject, schema in framed]
    if dry_run or any(each.change == "incompatible" for each in found):
        return found
    return [
        plan
        if plan.change == "none"
        else replace(plan, id=await registry.register(subject, schema.kind, schema.text))
        for plan, (subject, schema) in zip(found, framed, strict=True)
    ]


async def _plan(registry: SchemaRegistry, subject: str, schema: ResultSchema) -> Registration:
    registered: Registered | None = await registry.lookup(subject, schema.kind, schema.text)
    if registered is not None:
        return Registration(subject, schema.kind, "none", registered.id)
    if await registry.latest(subject) is None:
        return Registration(subject, schema.kind, "first version")
    problems = await registry.incompatibilities(subject, schema.kind, schema.text)
    if problems:
        return Registration(subject, schema.kind, "incompatible", problems=tuple(problems))
    return Registration(subject, schema.kind, "next version")
