"""The contract as files, `schemas/`: written, and compared with what is generated now.

- `contract`: the schema of each topic's records, and a document of all topics.
- `compatibility`: whether a change breaks readers or publishers.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import StageSettings, TopicSettings
from pipeline.config.topic_names import TopicNames
from pipeline.model.errors import PipelineError
from pipeline.schemas.compatibility import breaks
from pipeline.schemas.contract import AnyStage, asyncapi_document, record_schemas, schema_name

ASYNCAPI = "asyncapi.json"
_SUFFIX = ".schema.json"


@dataclass(frozen=True, slots=True)
class Findings:
    """What committed files lack or have too much, and changes that break readers or publishers."""

    stale: tuple[str, ...]
    broken: tuple[str, ...]


def generate(
    stages: Sequence[AnyStage], tables: Mapping[str, StageSettings] | None = None
) -> dict[str, str]:
    """The text of each file by its name; the same for the same stages, always.

    Of topics that a stage's table names there are those names; all others are the default ones.
    """
    schemas = record_schemas(stages)
    names = {subject: f"{subject}{_SUFFIX}" for subject in schemas}
    contents = {names[subject]: schema for subject, schema in schemas.items()}
    contents[ASYNCAPI] = asyncapi_document(
        stages, names, TopicSettings(), TopicNames(TopicSettings(), tables)
    )
    return {
        name: json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        for name, content in contents.items()
    }


def generate_some(stages: Sequence[AnyStage]) -> dict[str, str]:
    """The same for what these stages alone read and write, without the document of all topics."""
    subjects = {f"{stage.name}.{kind}{_SUFFIX}" for stage in stages for kind in ("raw", "enriched")}
    return {name: text for name, text in generate(stages).items() if name in subjects}


def compare(committed: Mapping[str, str], generated: Mapping[str, str]) -> Findings:
    """Say which committed files are stale, and which changes break readers or publishers."""
    names = sorted({*committed, *generated})
    stale = tuple(name for name in names if committed.get(name) != generated.get(name))
    broken: list[str] = []
    for name in stale:
        if name not in committed or name not in generated or name == ASYNCAPI:
            continue
        old, new = json.loads(committed[name]), json.loads(generated[name])
        subject, version = schema_name(old)
        if schema_name(new)[1] == version:
            found = breaks(
                old, new, written_by="publishers" if subject.endswith(".raw") else "pipeline"
            )
            broken += [f"{name}: {sentence}" for sentence in found]
    return Findings(stale, tuple(broken))


def read(directory: Path) -> dict[str, str]:
    """The committed files by name; empty where there is no such directory."""
    paths = [*directory.glob(f"*{_SUFFIX}"), *directory.glob(ASYNCAPI)]
    return {path.name: path.read_text("utf-8") for path in paths}


def check(directory: Path, generated: Mapping[str, str]) -> None:
    """`PipelineError`, which says what to do, unless the committed files are the generated ones."""
    if stale := _stale(directory, generated):
        raise PipelineError(
            f"{directory}/ is stale ({', '.join(stale)}): run `pipeline schemas` and "
            "commit what it writes."
        )


def write(directory: Path, generated: Mapping[str, str]) -> Sequence[str]:
    """Write what has changed, remove what is not generated any more, and return the names.

    `PipelineError` if a change breaks readers or publishers and has no new version, or if it cannot
    be written.
    """
    stale = _stale(directory, generated)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name in stale:
            path = directory / name
            if name in generated:
                path.write_text(generated[name], "utf-8")
            else:
                path.unlink()
    except OSError as error:
        raise PipelineError(
            f"{directory}/ cannot be written ({error.strerror}): name another with --directory."
        ) from error
    return stale


def _stale(directory: Path, generated: Mapping[str, str]) -> Sequence[str]:
    findings = compare(read(directory), generated)
    if findings.broken:
        raise PipelineError(
            f"This change breaks those who rely on the schemas ({'; '.join(findings.broken)}): "
            "take it back, or give the schema a new version."
        )
    return findings.stale
