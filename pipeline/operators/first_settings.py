"""A first `pipeline.toml`, for the topics that there are: `pipeline init`.

What is asked is little: where the brokers are, which topics, which question, where results go. The
rest is proposed from a sample of what is in the topics.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import ValidationError

from pipeline.config import KafkaSettings, Settings
from pipeline.config.inputs import InputSettings
from pipeline.inputs.formats import open_format
from pipeline.inputs.records import InputRecord
from pipeline.kafka.connection import admin_client
from pipeline.kafka.reader import read_latest
from pipeline.kafka.topics import ESCALATIONS, TopicNames
from pipeline.model.errors import InvalidEvent, PipelineError, UsageError
from pipeline.model.printable import printable
from pipeline.operators.files import usable
from pipeline.operators.mapping_proposal import Proposal, propose, toml_text
from pipeline.stages.api import stage_named
from pipeline.stream.records import Received

SAMPLED = 50
_MAIL = re.compile(rb"(?im)\A(?:[\w-]+:[^\n]*\n(?:[ \t][^\n]*\n)*)*?(?:from|subject|received):")
_FRAME_BYTES = 5
_A_FILTER = "status == 'new'"
_STAGE = re.compile(r"[a-z][a-z0-9_]*")
_NAME = re.compile(r"[^a-z0-9]+")
SampledFormat = Literal["json", "registry", "email", "text"]


@dataclass(frozen=True, slots=True)
class Answers:
    """What a person was asked.

    Attributes:
        kafka: Of the table of this name, what is not its default; no passwords.
        topics: Where records come from; empty for the stage's own topic.
        kind: The question, by the name of the stage that comes with the pipeline.
        stage: What the stage is called.
        output: Where results go; None for the stage's own topic.
        registry: Address of the schema registry, if there is one.
    """

    kafka: Mapping[str, str]
    topics: tuple[str, ...]
    kind: str
    stage: str
    output: str | None = None
    registry: str | None = None


@dataclass(frozen=True, slots=True)
class TopicSample:
    """What was found in topics; `remark` is what a person should know of it."""

    format: SampledFormat | None
    documents: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    remark: str | None = None


async def topics_of_others(kafka: KafkaSettings, settings: Settings) -> list[str]:
    """The topics that there are, but for the brokers' and the pipeline's own."""
    names = TopicNames(settings.topics)
    own = {*names.of([*settings.stages.by_name(), ESCALATIONS])}
    own -= {names.raw(stage) for stage in settings.stages.by_name()}
    async with admin_client(kafka) as admin:
        found = await admin.list_topics()
    return sorted(name for name in found if not name.startswith("_") and name not in own)


async def sample_topics(kafka: KafkaSettings, answers: Answers, settings: Settings) -> TopicSample:
    """Look at the latest records of the topics."""
    if not answers.topics:
        return TopicSample(None)
    records = await read_latest(kafka, answers.topics, SAMPLED)
    records = [record for record in records if record.value]
    if not records:
        return TopicSample(None, remark="The topics hold no records yet, so nothing is mapped.")
    kind = format_of(records)
    if kind == "json":
        return TopicSample("json", tuple(_objects(records)))
    table: dict[str, Any] = {"format": kind}
    try:
        reader = open_format(
            InputSettings.model_validate(table),
            settings.registry.model_copy(update={"url": answers.registry}),
        )
        if reader is None:
            return TopicSample(kind)
        found = [
            await reader.read(
                InputRecord(each.topic, each.key, each.value, _headers(each), each.timestamp)
            )
            for each in records
        ]
    except (InvalidEvent, PipelineError) as error:
        return TopicSample(
            kind, remark=f"The records could not be read, so nothing is mapped: {error}"
        )
    return TopicSample(kind, tuple(each.fields for each in found if each is not None))


def format_of(records: Sequence[Received]) -> SampledFormat:
    """The format that most of the records are in, by their first bytes."""
    values = [record.value or b"" for record in records]

    def are_most(found: Sequence[bool]) -> bool:
        return 2 * sum(found) > len(found)

    if are_most([value.lstrip()[:1] in {b"{", b"["} for value in values]):
        return "json"
    if are_most([value[:1] in b"\x00\x01" and len(value) > _FRAME_BYTES for value in values]):
        return "registry"
    if are_most(
        [_MAIL.match(value[:4096].replace(b"\r\n", b"\n")) is not None for value in values]
    ):
        return "email"
    return "text"


def _objects(records: Sequence[Received]) -> list[Mapping[str, Any]]:
    found = []
    for record in records:
        try:
            document = orjson.loads(record.value or b"")
        except orjson.JSONDecodeError:
            continue
        if isinstance(document, dict):
            found.append(_event_of(document))
    return found


def _event_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The `data` of a CloudEvent, which is what is mapped; else the record itself."""
    data = document.get("data")
    is_envelope = {"specversion", "id", "source", "type"} <= document.keys()
    return data if is_envelope and isinstance(data, dict) else document


def _headers(record: Received) -> dict[str, bytes]:
    return {name: content for name, content in record.headers if content is not None}


def stage_name(topics: Sequence[str], kind: str, settings: Settings) -> str:
    """What a stage is best called: after its topic, and not like a stage that there is."""
    last = topics[0].rpartition(".")[2] if topics else kind
    name = _NAME.sub("_", last.lower()).strip("_")
    if not name or not name[0].isalpha():
        return kind
    return f"{name}_{kind}" if name in settings.stages.by_name() and name != kind else name


def written(answers: Answers, found: TopicSample, settings: Settings, on: date) -> str:
    """The file: commented, and with a proposed mapping where there was something to propose from.

    Raises:
        UsageError: There is no such kind, or no stage can be called so.
    """
    if _STAGE.fullmatch(answers.stage) is None:
        raise UsageError(
            f"A stage cannot be called {answers.stage!r}: take lower-case letters, digits and "
            "underscores."
        )
    proposal = None
    if found.documents:
        model = stage_named(settings.stages, answers.kind).raw_model
        proposal = propose(answers.stage, model, found.documents)
    lines = [
        f"# Written by `pipeline init` on {on:%Y-%m-%d}. All settings: docs/SETTINGS.md.",
        f"# `pipeline map {answers.stage} --sample TOPIC` shows what comes of real records,",
        "# `pipeline doctor` what is wrong, `pipeline run` starts it.",
        "",
        "# What `pipeline run` serves; `escalations` is where Sonnet decides what Haiku doubts.",
        f"enabled = {_list([answers.stage, ESCALATIONS])}",
        "",
        *_kafka(answers.kafka),
    ]
    if answers.registry is not None:
        lines += ["[registry]", f"url = {toml_text(answers.registry)}", ""]
    lines += _stage(answers, found, proposal)
    text = "\n".join(lines)
    tomllib.loads(text)
    return text


def _kafka(given: Mapping[str, str]) -> list[str]:
    lines = ["[kafka]", *(f"{name} = {toml_text(value)}" for name, value in given.items())]
    if "SASL" in given.get("security_protocol", ""):
        lines.append("# The password belongs in the environment: PIPELINE_KAFKA__SASL_PASSWORD.")
    return [*lines, ""]


def _stage(answers: Answers, found: TopicSample, proposal: Proposal | None) -> list[str]:
    table = f"stages.{answers.stage}"
    lines = [f"[{table}]"]
    if answers.stage != answers.kind:
        lines.append(f"kind = {toml_text(answers.kind)}")
    where = None if proposal is None else proposal.where
    lines += [
        "# Records of which this is not true are passed over: nothing is asked, nothing published.",
        f"# where = {toml_text(where or _A_FILTER)}",
        "# What goes on to the result's `source.extra`; unset: all that is not read.",
        "# pass_through = []",
        "# What this stage may spend, in US dollars:",
        "# budget_usd_per_day = 10",
        "",
    ]
    if answers.topics:
        lines += [f"[{table}.input]", f"topics = {_list(answers.topics)}"]
        if found.format not in {None, "json"}:
            lines.append(f"format = {toml_text(str(found.format))}")
        if proposal is not None and proposal.envelope is not None:
            lines.append(f"envelope = {toml_text(proposal.envelope)}")
        lines.append("")
    if answers.output is not None:
        lines += [f"[{table}.output]", f"topic = {toml_text(answers.output)}", ""]
    if found.remark is not None:
        lines += [f"# {printable(' '.join(found.remark.split()))}", ""]
    if proposal is not None:
        lines += [
            "# Where the stage's fields are in the records; docs/MAPPING.md.",
            *_map(proposal),
        ]
    return [*lines, ""]


def _map(proposal: Proposal) -> list[str]:
    text = proposal.toml().splitlines()
    return text[text.index(f"[stages.{proposal.stage}.map]") :]


def _list(values: Sequence[str]) -> str:
    return f"[{', '.join(map(toml_text, values))}]"


def reaching(usual: KafkaSettings, given: Mapping[str, str]) -> KafkaSettings:
    """The settings with what was given; `UsageError` names what cannot be."""
    try:
        return KafkaSettings.model_validate(usual.model_dump(exclude_unset=True) | dict(given))
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False)
        named = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in faults)
        raise UsageError(f"The brokers cannot be reached like that: {named}.") from error


def require_writable(path: Path, *, force: bool) -> None:
    """Raise `UsageError` where a file would be overwritten."""
    if path.exists() and not force:
        raise UsageError(f"There is a {path} already: say --force to write another in its place.")


def require_known(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    """Raise `UsageError` with those that there are."""
    if missing := [name for name in names if name not in known]:
        there_are = ", ".join(known) or "none"
        raise UsageError(f"There is no {what} {', '.join(missing)}; there are {there_are}.")


@contextmanager
def replacing(path: Path, text: str) -> Iterator[None]:
    """Write a file for the body to check; where that fails, what was there before is put back."""
    before = path.read_bytes() if path.exists() else None
    with usable(path, "written", otherwise="go to a folder where it can."):
        path.write_text(text, "utf-8")
    try:
        yield
    except PipelineError:
        path.unlink()
        if before is not None:
            path.write_bytes(before)
        raise
