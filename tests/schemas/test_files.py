import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import StagesSettings
from pipeline.model.errors import PipelineError
from pipeline.schemas import ASYNCAPI, check, compare, generate, read, write
from pipeline.stages.api import build_stages

Schema = dict[str, Any]

COMMITTED = Path(__file__).parents[2] / "schemas"
RAW, ENRICHED = "tickets.raw.schema.json", "tickets.enriched.schema.json"


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    return generate(tuple(build_stages(StagesSettings()).values()))


def changed(
    generated: dict[str, str], name: str, change: Callable[[Schema], None]
) -> dict[str, str]:
    schema = json.loads(generated[name])
    change(schema)
    return {**generated, name: json.dumps(schema)}


def test_the_same_stages_give_the_same_bytes(generated: dict[str, str]) -> None:
    assert generate(tuple(build_stages(StagesSettings()).values())) == generated


def test_the_committed_files_are_current(generated: dict[str, str]) -> None:
    check(COMMITTED, generated)


def test_what_was_written_is_current(tmp_path: Path, generated: dict[str, str]) -> None:
    assert set(write(tmp_path / "schemas", generated)) == set(generated)
    check(tmp_path / "schemas", generated)
    assert write(tmp_path / "schemas", generated) == ()


def test_stale_files_fail_the_check_and_it_says_what_to_run(
    tmp_path: Path, generated: dict[str, str]
) -> None:
    write(tmp_path, generated)
    (tmp_path / ASYNCAPI).write_text("{}")
    (tmp_path / RAW).unlink()
    with pytest.raises(PipelineError, match="run `pipeline schemas`") as error:
        check(tmp_path, generated)
    assert ASYNCAPI in str(error.value)
    assert RAW in str(error.value)


def test_files_that_are_not_generated_any_more_are_removed(
    tmp_path: Path, generated: dict[str, str]
) -> None:
    write(tmp_path, generated)
    (tmp_path / "faxes.raw.schema.json").write_text("{}")
    (tmp_path / "README.md").write_text("kept")
    assert write(tmp_path, generated) == ("faxes.raw.schema.json",)
    assert set(read(tmp_path)) == set(generated)
    assert (tmp_path / "README.md").exists()


def test_a_folder_that_cannot_be_written_is_reported(
    tmp_path: Path, generated: dict[str, str]
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PipelineError, match=r"cannot be written .*--directory"):
        write(tmp_path / "file" / "schemas", generated)


def test_a_change_that_breaks_readers_is_refused_while_the_version_stays(
    tmp_path: Path, generated: dict[str, str]
) -> None:
    def with_another_field(schema: Schema) -> None:
        schema["properties"]["sentiment"] = {"type": "string"}

    committed = changed(generated, ENRICHED, with_another_field)
    write(tmp_path, committed)
    for act in (check, write):
        with pytest.raises(PipelineError, match="sentiment was removed"):
            act(tmp_path, generated)
    assert read(tmp_path) == committed


def test_a_change_that_breaks_publishers_is_refused_while_the_version_stays(
    generated: dict[str, str],
) -> None:
    def with_an_optional_body(schema: Schema) -> None:
        schema["required"].remove("body")

    findings = compare(changed(generated, RAW, with_an_optional_body), generated)
    assert findings.broken == (f"{RAW}: body must be present now",)


def test_a_new_version_may_break(generated: dict[str, str]) -> None:
    def of_an_older_version(schema: Schema) -> None:
        schema["$id"] = "urn:haiku-pipeline:schema:tickets.enriched:0"
        schema["properties"]["sentiment"] = {"type": "string"}

    findings = compare(changed(generated, ENRICHED, of_an_older_version), generated)
    assert findings.broken == ()
    assert findings.stale == (ENRICHED,)


def test_the_asyncapi_document_refers_to_what_there_is(generated: dict[str, str]) -> None:
    document = json.loads(generated[ASYNCAPI])
    references = set(_references(document))
    files = {reference for reference in references if not reference.startswith("#")}
    assert files == set(generated) - {ASYNCAPI}
    for reference in references - files:
        node = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
        assert node


def _references(node: object) -> Iterator[str]:
    match node:
        case {"$ref": str(reference)}:
            yield reference
        case dict():
            for value in node.values():
                yield from _references(value)
        case list():
            for each in node:
                yield from _references(each)
