import json
from pathlib import Path

import pytest

from pipeline.config import Settings
from pipeline.model.errors import UsageError
from pipeline.operators.publish import Item, count_items, read_items, refusal_of
from pipeline.stages.api import stage_named
from tests.cli.conftest import Run

PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)


def written(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_line_is_an_event_and_its_id_the_key(tmp_path: Path) -> None:
    path = written(tmp_path / "t.jsonl", b'{"id": "a", "customer": 7}\n\n  {"id": "b"}\nnot json\n')
    items = list(read_items([path]))
    assert [item.key for item in items] == [b"a", b"b", None]
    assert items[1].value == b'{"id": "b"}'
    assert items[2].place == f"{path}:4"
    assert dict(items[0].headers) == {"content-type": b"application/json"}


def test_another_field_can_be_the_key(tmp_path: Path) -> None:
    path = written(tmp_path / "t.jsonl", b'{"id": "a", "customer": 7}\n{"id": "b"}\n')
    assert [item.key for item in read_items([path], key_field="customer")] == [b"7", None]


def test_a_folder_holds_files_whose_type_is_what_they_are(tmp_path: Path) -> None:
    written(tmp_path / "b" / "D-2.jpg", PNG)
    written(tmp_path / "a.json", b'{\n"id": "x"\n}')
    written(tmp_path / "D-1.txt", b"hello")
    written(tmp_path / ".hidden", b"")
    found = {Path(item.place).name: item for item in read_items([tmp_path])}
    assert set(found) == {"D-2.jpg", "a.json", "D-1.txt"}
    assert dict(found["D-2.jpg"].headers) == {"content-type": b"image/png", "event-id": b"D-2"}
    assert found["D-2.jpg"].key == b"D-2"
    assert dict(found["D-1.txt"].headers)["content-type"] == b"text/plain"
    assert found["a.json"].key == b"x"
    assert count_items([tmp_path]) == 3


def test_what_will_be_found_is_counted_beforehand_unless_it_is_typed(tmp_path: Path) -> None:
    path = written(tmp_path / "t.jsonl", b"{}\n\n{}\n")
    assert count_items([path, path]) == 4
    assert count_items([path, Path("-")]) is None


def test_a_file_that_cannot_be_read_is_named() -> None:
    with pytest.raises(UsageError, match=r"missing\.jsonl"):
        list(read_items([Path("missing.jsonl")]))


def test_what_the_stage_does_not_take_is_refused_with_the_reason() -> None:
    stage = stage_named(Settings().stages, "tickets")
    good = Item("t:1", b"a", b'{"id": "a", "body": "Hello"}')
    bad = Item("t:2", b"b", b'{"id": "b"}')
    assert refusal_of(stage, good) is None
    refusal = refusal_of(stage, bad)
    assert refusal is not None
    assert (refusal.place, refusal.reason) == ("t:2", "invalid_event")
    assert "body" in refusal.detail


@pytest.mark.usefixtures("prefix")
def test_events_are_published_and_bad_ones_left_out_and_reported(run: Run, tmp_path: Path) -> None:
    path = written(
        tmp_path / "t.jsonl", b'{"id": "a", "body": "One"}\n{"id": "b"}\n{"id": "c", "body": "2"}\n'
    )
    assert run("topics", "create").code == 0
    ran = run("publish", "tickets", str(path))
    assert ran.code == 1
    assert "2 published" in ran.out
    assert "1 refused" in ran.out
    assert f"{path}:2: invalid_event: body: missing" in ran.err


def test_broken_events_can_be_sent_on_purpose(run: Run, tmp_path: Path, prefix: str) -> None:
    path = written(tmp_path / "t.jsonl", b'{"id": "a"}\nnot json\n')
    run("topics", "create")
    ran = run("publish", "tickets", str(path), "--no-validate", "--json")
    assert ran.code == 0
    assert json.loads(ran.out) == {
        "topic": f"{prefix}tickets.raw",
        "published": 2,
        "refused": 0,
        "refusals": [],
    }
    read = [json.loads(line) for line in run("tail", f"{prefix}tickets.raw").out.splitlines()]
    assert {"id": "a"} in read
    assert any(record.get("value") == "not json" for record in read)


@pytest.mark.usefixtures("prefix")
def test_a_missing_topic_is_reported_with_what_to_do(run: Run, tmp_path: Path) -> None:
    path = written(tmp_path / "t.jsonl", b'{"id": "a", "body": "One"}\n')
    ran = run("publish", "tickets", str(path))
    assert ran.code == 1
    assert "pipeline topics create" in ran.err


@pytest.mark.usefixtures("prefix")
def test_records_of_another_shape_are_checked_through_the_mapping_and_published_as_they_are(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_STAGES__TICKETS__MAP", '{"id": "no", "body": "message"}')
    monkeypatch.setenv("PIPELINE_STAGES__TICKETS__WHERE", "message")
    good, over, bad = b'{"no": 1, "message": "Hi"}', b'{"no": 2}', b'{"message": "Hi"}'
    path = written(tmp_path / "t.jsonl", b"\n".join([good, over, bad]))
    assert run("topics", "create", "tickets").code == 0
    ran = run("publish", "tickets", str(path))
    assert "2 published" in ran.out
    assert "stages.tickets.map.id" in ran.err
