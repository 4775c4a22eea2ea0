from collections import Counter

from pipeline.config import StagesSettings
from pipeline.local.day import (
    ROUTINE,
    DayEvent,
    day_of_events,
    items_of,
    read_manifest,
    samples_folder,
)
from pipeline.operators.publish import refusal_of
from pipeline.stages.api import build_stages

STAGES = build_stages(StagesSettings())
FOLDER = samples_folder()
BROKEN = "cannot be read at all"


def contents(day: list[DayEvent]) -> list[tuple[str, str, bytes]]:
    return [(event.stage, event.name, event.item.value) for event in day]


def test_every_entry_of_the_manifest_has_as_many_records_as_it_says() -> None:
    entries = read_manifest(FOLDER)
    assert {entry.stage for entry in entries} == set(STAGES)
    for entry in entries:
        assert len(list(items_of(FOLDER, entry))) == entry.count


def test_a_day_has_hundreds_of_events_of_every_use_and_most_are_routine() -> None:
    day = day_of_events(FOLDER)
    kinds = Counter(event.kind for event in day)
    assert 400 <= len(day) <= 600
    assert {event.stage for event in day} == set(STAGES)
    assert kinds[ROUTINE] / len(day) > 0.7
    assert len(kinds) > 5


def test_no_two_events_of_a_use_share_an_id() -> None:
    names = Counter((event.stage, event.name) for event in day_of_events(FOLDER))
    assert max(names.values()) == 1


def test_the_same_seed_makes_the_same_day_and_another_one_another() -> None:
    again = contents(day_of_events(FOLDER, share=0.2))
    assert again == contents(day_of_events(FOLDER, share=0.2))
    assert again != contents(day_of_events(FOLDER, share=0.2, seed=8))


def test_a_part_of_the_day_has_every_use_and_every_kind() -> None:
    whole, part = day_of_events(FOLDER), day_of_events(FOLDER, share=0.1)
    assert len(part) < len(whole) / 6
    assert {event.stage for event in part} == {event.stage for event in whole}
    assert {event.kind for event in part} == {event.kind for event in whole}


def test_only_what_is_broken_on_purpose_is_refused_by_its_stage() -> None:
    for event in day_of_events(FOLDER):
        refusal = refusal_of(STAGES[event.stage], event.item)
        assert refusal is None or event.kind == BROKEN, event.name


def test_routine_invoices_come_as_text_as_pdf_and_as_scans() -> None:
    media = Counter(
        dict(event.item.headers)["content-type"]
        for event in day_of_events(FOLDER)
        if event.stage == "invoices" and event.kind == ROUTINE
    )
    assert set(media) == {b"application/json", b"application/pdf", b"image/png"}


def test_routine_texts_vary() -> None:
    routine = [
        event
        for event in day_of_events(FOLDER)
        if event.kind == ROUTINE and event.stage == "tickets"
    ]
    texts = {event.item.value.split(b'"body"')[1] for event in routine}
    assert len(texts) > 0.9 * len(routine)
