from pipeline.config import StagesSettings
from pipeline.local.samples import items_of, read_manifest, samples_folder
from pipeline.operators.publish import refusal_of
from pipeline.stages.api import build_stages

STAGES = build_stages(StagesSettings())


def test_every_entry_has_as_many_records_as_it_says() -> None:
    folder = samples_folder()
    entries = read_manifest(folder)
    assert {entry.stage for entry in entries} == set(STAGES)
    for entry in entries:
        assert len(list(items_of(folder, entry))) == entry.count


def test_only_what_is_broken_on_purpose_is_refused_by_its_stage() -> None:
    folder = samples_folder()
    for entry in read_manifest(folder):
        for item in items_of(folder, entry):
            refusal = refusal_of(STAGES[entry.stage], item)
            assert refusal is None or entry.expected == "dead_letter"
