from pipeline.local.samples import items_of, read_manifest, samples_folder
from pipeline.publish import refusal_of
from pipeline.settings import Settings, StagesSettings
from pipeline.stages.registry import build_stages

STAGES = build_stages(StagesSettings())
ENABLED = [name for name in Settings().enabled if name in STAGES]


def test_every_entry_has_as_many_records_as_it_says() -> None:
    folder = samples_folder()
    entries = read_manifest(folder, ENABLED)
    assert {entry.stage for entry in entries} == set(ENABLED)
    for entry in entries:
        assert len(list(items_of(folder, entry))) == entry.count


def test_only_what_is_broken_on_purpose_is_refused_by_its_stage() -> None:
    folder = samples_folder()
    for entry in read_manifest(folder, ENABLED):
        for item in items_of(folder, entry):
            refusal = refusal_of(STAGES[entry.stage], item)
            assert refusal is None or entry.expected == "dead_letter"
