from collections.abc import Mapping
from typing import Any

import pytest

from pipeline.config import StagesSettings
from pipeline.model.errors import InvalidEvent
from pipeline.model.records import DeadLetterReason
from pipeline.stages.api import Stage, build_stages
from tests.fuzz.__main__ import fuzz, main
from tests.fuzz.corpus import corpus
from tests.fuzz.mutation import RawRecord, mutated
from tests.fuzz.verdict import Verdict, judge

RECORDS = corpus()
STAGES = build_stages(StagesSettings())
NOTHING = RawRecord("tickets", b"", None, ())


class Sabotaged:
    """A stage that fails at every event in its own way."""

    def __init__(self, failure: Exception) -> None:
        self._failure = failure

    def parse(self, value: bytes, *, key: bytes | None, headers: Mapping[str, bytes]) -> object:
        raise self._failure


def sabotaged(failure: Exception) -> dict[str, Stage[Any, Any]]:
    stage: Any = Sabotaged(failure)
    return {"tickets": stage}


def test_every_stage_is_fuzzed_from_sound_and_from_broken_records() -> None:
    assert {record.stage for record in RECORDS} == set(STAGES)
    assert len(RECORDS) > 150


def test_the_same_seed_bends_a_record_in_the_same_way() -> None:
    for seed in range(50):
        record = RECORDS[seed % len(RECORDS)]
        assert mutated(record, RECORDS, seed) == mutated(record, RECORDS, seed)


def test_whatever_third_parties_send_is_asked_about_or_explained() -> None:
    ends = set()
    for seed in range(1, 3000, 2):
        verdict = judge(STAGES, mutated(RECORDS[seed % len(RECORDS)], RECORDS, seed))
        assert verdict.fault is None, f"python -m tests.fuzz --seed {seed} --count 1"
        ends.add(verdict.end)
    assert {"asked", "invalid_json", "invalid_event", "bad_image", "bad_pdf"} <= ends


@pytest.mark.parametrize("detail", ["", "no", "a\nb.", f"{'x' * 600}."])
def test_a_reason_that_nobody_understands_is_a_fault(detail: str) -> None:
    failure = InvalidEvent(DeadLetterReason.INVALID_EVENT, detail)
    assert judge(sabotaged(failure), NOTHING).fault is not None


def test_a_crash_is_not_mistaken_for_a_dead_letter() -> None:
    with pytest.raises(KeyError):
        judge(sabotaged(KeyError("bug")), NOTHING)


def test_a_reason_in_a_sentence_is_no_fault() -> None:
    failure = InvalidEvent(DeadLetterReason.INVALID_JSON, "The value is empty.")
    assert judge(sabotaged(failure), NOTHING) == Verdict("invalid_json")


def test_the_program_feeds_a_process_and_counts(capsys: pytest.CaptureFixture[str]) -> None:
    findings = fuzz(seed=1, seconds=100, count=40)
    assert findings.ends.total() == 40
    assert findings.faults == {}
    assert main(["--seconds", "0"]) == 1, "nothing was shown"
    assert '"records": 0' in capsys.readouterr().out
