"""The files of `schemas/`: written, and compared with what is generated now."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import TopicSettings
from pipeline.model.errors import PipelineError
from pipeline.schemas.asyncapi import asyncapi_document
from pipeline.schemas.compatibility import WrittenBy, breaks
from pipeline.schemas.records import AnyStage, Schema, record_schemas, schema_name

ASYNCAPI = "asyncapi.json"
_SUFFIX = ".schema.json"


@dataclass(frozen=True, slots=True)
class Findings:
    """What generated and committed files differ in.

    Args:
        stale: Names of files that are missing, outdated, or not generated any more.
        broken: Changes that break readers or publishers and have no new version, as sentences.
    """

    stale: tuple[str, ...]
    broken: tuple[str, ...]


def generate(stages: Sequence[AnyStage]) -> dict[str, str]:
    """The text of each file by its name; the same for the same stages, always."""
    schemas = record_schemas(stages)
    names = {subject: f"{subject}{_SUFFIX}" for subject in schemas}
    document = asyncapi_document(stages, names, TopicSettings())
    contents = {names[subject]: schema for subject, schema in schemas.items()}
    return {name: _text(content) for name, content in {**contents, ASYNCAPI: document}.items()}


def generate_some(stages: Sequence[AnyStage]) -> dict[str, str]:
    """The same for what these stages alone read and write, without the document of all topics."""
    subjects = {f"{stage.name}.{kind}{_SUFFIX}" for stage in stages for kind in ("raw", "enriched")}
    return {name: text for name, text in generate(stages).items() if name in subjects}


def compare(committed: Mapping[str, str], generated: Mapping[str, str]) -> Findings:
    """Say which committed files are stale, and which changes break somebody."""
    names = sorted({*committed, *generated})
    stale = tuple(name for name in names if committed.get(name) != generated.get(name))
    both = [name for name in stale if name in committed and name in generated and name != ASYNCAPI]
    broken = [
        f"{name}: {sentence}"
        for name in both
        for sentence in _breaks(json.loads(committed[name]), json.loads(generated[name]))
    ]
    return Findings(stale, tuple(broken))


def read(directory: Path) -> dict[str, str]:
    """The committed files by name; empty where there is no such directory."""
    paths = [*directory.glob(f"*{_SUFFIX}"), *directory.glob(ASYNCAPI)]
    return {path.name: path.read_text("utf-8") for path in paths}


def check(directory: Path, generated: Mapping[str, str]) -> None:
    """Make sure that the committed files are what is generated.

    Raises:
        PipelineError: They are not; it says what to run, or what to change first.
    """
    findings = compare(read(directory), generated)
    _refuse_broken(findings)
    if findings.stale:
        raise PipelineError(
            f"{directory}/ is stale ({', '.join(findings.stale)}): run `pipeline schemas` and "
            "commit what it writes."
        )


def write(directory: Path, generated: Mapping[str, str]) -> Sequence[str]:
    """Write what has changed and remove what is not generated any more.

    Returns:
        The names of the files that changed.

    Raises:
        PipelineError: A change would break readers or publishers and has no new version, or the
            directory cannot be written to.
    """
    findings = compare(read(directory), generated)
    _refuse_broken(findings)
    try:
        _put(directory, findings.stale, generated)
    except OSError as error:
        raise PipelineError(
            f"{directory}/ cannot be written ({error.strerror}): name another with --directory."
        ) from error
    return findings.stale


def _put(directory: Path, stale: Sequence[str], generated: Mapping[str, str]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name in stale:
        path = directory / name
        if name in generated:
            path.write_text(generated[name], "utf-8")
        else:
            path.unlink()


def _breaks(old: Schema, new: Schema) -> list[str]:
    subject, old_version = schema_name(old)
    _, new_version = schema_name(new)
    if new_version != old_version:
        return []
    written_by: WrittenBy = "publishers" if subject.endswith(".raw") else "pipeline"
    return breaks(old, new, written_by=written_by)


def _refuse_broken(findings: Findings) -> None:
    if findings.broken:
        raise PipelineError(
            f"This change breaks those who rely on the schemas ({'; '.join(findings.broken)}): "
            "take it back, or give the schema a new version."
        )


def _text(content: Schema) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
