"""A first `pipeline.toml`, for the topics that there are: `pipeline init`.

What is asked is little: where the brokers are, which topics, which question, where results go. The
rest is proposed from a sample of what is in the topics.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from pipeline.cascade.reading import input_record
from pipeline.config import KafkaSettings, Settings
from pipeline.config.inputs import Attachments, InputFormat, InputSettings
from pipeline.config.stages import KINDS
from pipeline.inputs.formats import open_format
from pipeline.inputs.records import Document, DocumentPart
from pipeline.kafka.connection import admin_client
from pipeline.kafka.reader import read_latest
from pipeline.kafka.topics import ESCALATIONS, TopicNames, Topics
from pipeline.model.errors import InvalidEvent, PipelineError, UsageError
from pipeline.model.printable import printable
from pipeline.operators.files import usable
from pipeline.operators.mapping_proposal import Proposal, propose, toml_text
from pipeline.operators.samples import format_of
from pipeline.stages.api import raw_model_of
from pipeline.stream.records import Received

SAMPLED = 50
_A_FILTER = "status == 'new'"
_NO_AUTOMATIC_MAIL = '$.about.headers."auto-submitted" == `null`'
_STAGE = re.compile(r"[a-z][a-z0-9_]*")
_NAME = re.compile(r"[^a-z0-9]+")
_VERSION = re.compile(r"v?\d+")
_STARTS: Mapping[str, Sequence[str]] = {
    "classify": (
        "# What the texts are, in a sentence for the model.",
        'task = ""',
        "# Of which each text is one: put yours here, two at least.",
        "labels = [",
        '  {name = "complaint", description = "Says that something was not as it should be."},',
        '  {name = "other", description = "Everything else."},',
        "]",
    ),
    "extract": (
        "# What the texts or documents are, in a sentence for the model.",
        'task = ""',
        "# What is wanted of each of them: put yours here; docs/STAGES.md has the types.",
        "fields = [",
        '  {name = "reference", description = "The number that the sender refers to."},',
        "]",
    ),
}
"""What a general kind cannot be without, to be replaced."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a person was asked.

    Attributes:
        kafka: Of the table of this name, what is not its default; no passwords.
        topics: Where records come from; empty for the stage's own topic.
        kind: The question: a stage that comes with the pipeline, `classify` or `extract`.
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
    """What was found in topics; `remark` is what a person should know of it.

    `attachments` is what to do with those of mails, where they have the files that are asked about.
    `are_compacted` is whether the topics keep the last record of each key alone.
    """

    format: InputFormat | None
    documents: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    remark: str | None = None
    attachments: Attachments | None = None
    are_compacted: bool = False


async def topics_of_others(kafka: KafkaSettings, settings: Settings) -> list[str]:
    """The topics that there are, but for the brokers' and the pipeline's own."""
    names = TopicNames.under(settings)
    own = {*names.of([*settings.stages.by_name(), ESCALATIONS])}
    for stage in settings.stages.by_name():
        own -= {*names.read_by(stage).topics}
    async with admin_client(kafka) as admin:
        found = await admin.list_topics()
    return sorted(name for name in found if not name.startswith("_") and name not in own)


async def sample_topics(kafka: KafkaSettings, answers: Answers, settings: Settings) -> TopicSample:
    """Look at the topics and their latest records."""
    if not answers.topics:
        return TopicSample(None)
    async with admin_client(kafka) as admin:
        states = await Topics(admin).describe(answers.topics)
    found = await _sample_records(kafka, answers, settings)
    cleanups = [state.cleanup or "" for state in states.values()]
    return replace(found, are_compacted=bool(cleanups) and all("compact" in c for c in cleanups))


async def _sample_records(
    kafka: KafkaSettings, answers: Answers, settings: Settings
) -> TopicSample:
    records = await read_latest(kafka, answers.topics, SAMPLED)
    records = [record for record in records if record.value]
    if not records:
        return TopicSample(None, remark="The topics hold no records yet, so nothing is mapped.")
    match format_of(records):
        case "json":
            return TopicSample("json", tuple(_objects(records)))
        case "file":
            remark = "The records are files: a stage that takes such reads them as they are."
        case None:
            remark = "The records are of no form that is known here: see docs/INPUTS.md."
        case kind:
            return await _read_sample(kind, records, answers, settings)
    return TopicSample(None, remark=remark)


async def _read_sample(
    kind: InputFormat, records: Sequence[Received], answers: Answers, settings: Settings
) -> TopicSample:
    """What is in records of a format that is not JSON; those that are not of it are left out."""
    takes_files = "file" in raw_model_of(settings.stages, answers.kind).model_fields
    attachments: Attachments = "each" if kind == "email" and takes_files else "ignore"
    url = answers.registry or settings.registry.url
    documents: list[Document] = []
    failure: PipelineError | None = None
    try:
        reader = open_format(
            InputSettings(format=kind, attachments=attachments),
            settings.registry.model_copy(update={"url": url}),
        )
        assert reader is not None  # noqa: S101 - of JSON alone it is none
        for record in records:
            try:
                found = await reader.read(input_record(record))
            except InvalidEvent as error:
                failure = error
            else:
                documents += [] if found is None else [found]
    except PipelineError as error:
        failure = error
    if failure is not None and not documents:
        return TopicSample(
            kind, remark=f"The records could not be read, so nothing is mapped: {failure}"
        )
    events = [
        {**document.fields, **part.fields}
        for document in documents
        for part in document.parts or (DocumentPart("", {}),)
    ]
    has_files = attachments == "each" and any(event.get("file") for event in events)
    return TopicSample(kind, tuple(events), attachments="each" if has_files else None)


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


def stage_name(topics: Sequence[str], kind: str, settings: Settings) -> str:
    """What a stage is best called: after its topic, and not like a stage that there is."""
    words = topics[0].split(".") if topics else [kind]
    last = next((word for word in reversed(words) if not _VERSION.fullmatch(word)), kind)
    name = _NAME.sub("_", last.lower()).strip("_")
    if not name or not name[0].isalpha():
        return kind
    others = [each for each in kinds(settings) if each != kind]
    return f"{name}_{kind}" if name in others else name


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
    proposal = _proposal(answers, found, settings)
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
        lines += [
            "[registry]",
            f"url = {toml_text(answers.registry)}",
            "# An account: `username` here, and PIPELINE_REGISTRY__PASSWORD in the environment.",
            "",
        ]
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
    if answers.stage != answers.kind or answers.kind in _STARTS:
        lines.append(f"kind = {toml_text(answers.kind)}")
    lines += _STARTS.get(answers.kind, ())
    lines += [
        "# Records of which this is not true are passed over: nothing is asked, nothing published.",
        _filter(found.format, proposal),
        "# What goes on to the result's `source.extra`; unset: all that is not read.",
        "# pass_through = []",
        "# Labels and further values of your own: docs/STAGES.md. What it may spend, in dollars:",
        "# budget_usd_per_day = 10",
        "",
    ]
    if answers.topics:
        lines += [f"[{table}.input]", f"topics = {_list(answers.topics)}"]
        if found.format not in {None, "json"}:
            lines.append(f"format = {toml_text(str(found.format))}")
        if found.attachments is not None:
            lines.append(f"attachments = {toml_text(found.attachments)}")
        if proposal is not None and proposal.envelope is not None:
            lines.append(f"envelope = {toml_text(proposal.envelope)}")
        lines.append("")
    lines += _output(table, answers, found)
    if found.remark is not None:
        lines += [f"# {printable(' '.join(found.remark.split()))}", ""]
    if proposal is not None:
        lines += [
            "# Where the stage's fields are in the records; docs/MAPPING.md.",
            *_map(proposal),
        ]
    return [*lines, ""]


def _filter(format_: InputFormat | None, proposal: Proposal | None) -> str:
    if proposal is None or proposal.where is None:
        if format_ == "email":
            return f"# where = '{_NO_AUTOMATIC_MAIL}'  # no out-of-office replies, no bounces"
        return f"# where = {toml_text(_A_FILTER)}"
    return f"# where = {toml_text(proposal.where)}  # {proposal.where_because}"


def _output(table: str, answers: Answers, found: TopicSample) -> list[str]:
    lines = [] if answers.output is None else [f"topic = {toml_text(answers.output)}"]
    if found.are_compacted:
        lines += [
            "# The records' topic is compacted: that what a key names is gone is passed on.",
            "tombstones = true",
        ]
    return [f"[{table}.output]", *lines, ""] if lines else []


def _map(proposal: Proposal) -> list[str]:
    text = proposal.toml().splitlines()
    return text[text.index(f"[stages.{proposal.stage}.map]") :]


def kinds(settings: Settings) -> list[str]:
    """What a stage may be one of: what comes with the pipeline, and classes of one's own."""
    return [*KINDS, *(name for name, own in settings.stages.own.items() if not own.kind)]


def left_to_do(answers: Answers, found: TopicSample, settings: Settings) -> Iterator[str]:
    """What a person has to put into the file, in sentences."""
    if answers.kind in _STARTS:
        yield "Put into it what is to be asked: it has an example."
    if found.remark is not None:
        yield found.remark
    proposal = _proposal(answers, found, settings)
    if proposal is not None and proposal.missing:
        names = ", ".join(proposal.missing)
        yield f"Nothing in the records looks like {names}: put into it where that is."


def _proposal(answers: Answers, found: TopicSample, settings: Settings) -> Proposal | None:
    if not found.documents:
        return None
    return propose(answers.stage, raw_model_of(settings.stages, answers.kind), found.documents)


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
