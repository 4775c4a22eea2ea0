import io
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from pypdf import PdfReader

from pipeline.config import Settings
from pipeline.model.errors import InvalidEvent
from pipeline.model.records import DeadLetterReason
from pipeline.stages.api import build_stages
from tests.samples.index import SAMPLES, Sample, manifest, samples

AT_LEAST = {
    "tickets": 64, "invoices": 20, "images": 15,
    "documents": 10, "requests": 10, "code": 10, "texts": 10,
}  # fmt: skip
LARGEST_FOLDER = 3_000_000
LARGEST_IMAGE = (900, 1200)
NOT_PUBLISHED = {"README.md", "manifest.json", "day.toml"}

STAGES = build_stages(Settings().stages)
ALL = samples()
PDFS = sorted((SAMPLES / "invoices").glob("*.pdf"))
PICTURES = [
    path
    for folder in ("images", "invoices")
    for path in sorted((SAMPLES / folder).iterdir())
    if path not in PDFS
]


def named(sample: Sample) -> str:
    return f"{sample.stage}:{sample.id}"


def test_every_file_is_in_the_manifest_once_and_the_other_way_round() -> None:
    paths = Counter(entry.path for entry in manifest() if entry.path is not None)
    files = {
        path.relative_to(SAMPLES).as_posix()
        for path in SAMPLES.rglob("*")
        if path.is_file() and path.name not in NOT_PUBLISHED and path.parent.name != "labels"
    }

    assert set(paths) == files
    assert set(paths.values()) == {1}


def test_an_entry_says_where_its_bytes_and_its_key_come_from() -> None:
    for entry in manifest():
        assert (entry.path is None) != (entry.generate is None)
        assert (entry.key_field is not None) == (entry.kind == "jsonl")
        assert entry.kind == "jsonl" or entry.count == 1
        assert entry.headers["content-type"]


def test_an_entry_gives_a_reason_exactly_where_it_expects_a_dead_letter() -> None:
    for entry in manifest():
        assert (entry.reason is not None) == (entry.expected == "dead_letter")
        assert entry.kind != "broken" or entry.expected == "dead_letter"


def test_the_count_of_an_entry_is_the_number_of_its_events() -> None:
    assert sum(entry.count for entry in manifest()) == len(ALL)


@pytest.mark.parametrize(("stage", "least"), AT_LEAST.items())
def test_there_are_enough_samples_of_each_stage(stage: str, least: int) -> None:
    sound = [sample for sample in ALL if sample.stage == stage and sample.reason is None]

    assert len(sound) >= least


def test_no_two_events_of_a_stage_share_an_id() -> None:
    identities = Counter((sample.stage, sample.id) for sample in ALL)

    assert [identity for identity, times in identities.items() if times > 1] == []


def test_every_stage_has_samples_and_nothing_else_has() -> None:
    assert {entry.stage for entry in manifest()} == set(AT_LEAST) == set(STAGES)


@pytest.mark.parametrize("sample", [one for one in ALL if one.stage in STAGES], ids=named)
def test_a_stage_takes_a_sample_or_refuses_it_for_the_reason_given(sample: Sample) -> None:
    stage = STAGES[sample.stage]
    key = None if sample.key is None else sample.key.encode()
    headers = {name: value.encode() for name, value in sample.headers.items()}
    reason: DeadLetterReason | None = None

    try:
        event = stage.parse(sample.value, key=key, headers=headers)
        assert event.id == sample.id
        stage.question(event)
    except InvalidEvent as invalid:
        reason = invalid.reason

    assert reason == sample.reason


def test_the_broken_events_show_every_reason_that_a_record_itself_can_give() -> None:
    of_the_api_or_a_bug = {DeadLetterReason.REJECTED_BY_API, DeadLetterReason.STAGE_FAILED}
    shown = {entry.reason for entry in manifest() if entry.kind == "broken"}

    assert shown == set(DeadLetterReason) - of_the_api_or_a_bug


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_a_picture_opens_and_is_of_modest_size(path: Path) -> None:
    with Image.open(path) as picture:
        picture.load()

        assert picture.width <= LARGEST_IMAGE[0]
        assert picture.height <= LARGEST_IMAGE[1]


def test_images_come_in_every_type_that_is_taken_and_one_is_not_what_it_says() -> None:
    declared = Counter(sample.headers["content-type"] for sample in ALL if sample.stage == "images")
    liars = [
        sample.id
        for sample in ALL
        if sample.stage == "images" and sample.id.startswith("D-4") and sample.reason is not None
    ]

    assert {"image/png", "image/jpeg", "image/gif", "image/webp"} <= set(declared)
    assert len(liars) == 1


@pytest.mark.parametrize("path", PDFS, ids=lambda path: path.name)
def test_a_pdf_has_a_text_layer(path: Path) -> None:
    reader = PdfReader(path, strict=True)

    text = "\n".join(page.extract_text() for page in reader.pages)

    assert len(text.split()) > 40


def test_the_bomb_is_small_and_a_valid_png_of_enormous_size() -> None:
    data = (SAMPLES / "broken" / "decompression-bomb.png").read_bytes()

    assert len(data) < 100_000
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(data))


def test_the_whole_folder_is_small() -> None:
    sizes = [path.stat().st_size for path in SAMPLES.rglob("*") if path.suffix != ".pyc"]

    assert sum(sizes) < LARGEST_FOLDER
