"""What a stage makes of a record, held against what is promised."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from pipeline.model.errors import InvalidEvent, Unavailable
from pipeline.model.json_bytes import dumps
from pipeline.model.questions import MultiStepQuery
from pipeline.stages.api import Stage
from pipeline.stages.files.raw_events import to_json_object
from tests.fuzz.mutation import RawRecord

_LONGEST_DETAIL = 500


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a record ended.

    Args:
        end: `asked`, or the reason of its dead letter.
        fault: What is wrong with that, if anything is.
    """

    end: str
    fault: str | None = None


def judge(stages: Mapping[str, Stage[Any, Any]], record: RawRecord) -> Verdict:
    """Read a record and ask about it, as the pipeline would, without asking anybody.

    Raises:
        Exception: Anything but the two that a stage may raise: a crash.
    """
    stage = stages[record.stage]
    try:
        event = stage.parse(record.value, key=record.key, headers=dict(record.headers))
        inquiry = stage.question(event)
    except InvalidEvent as invalid:
        return Verdict(invalid.reason, _fault_of(invalid))
    except Unavailable:
        return Verdict("waited for")
    questions = inquiry.questions if isinstance(inquiry, MultiStepQuery) else (inquiry,)
    if not all(question.parts for question in questions):
        return Verdict("asked", "nothing is asked about it")
    # What is escalated travels as JSON, and the second tier must read the same event.
    escalated = orjson.loads(dumps(to_json_object(event)))
    if stage.raw_model.model_validate(escalated, strict=False) != event:
        return Verdict("asked", "it does not survive an escalation")
    return Verdict("asked")


def _fault_of(invalid: InvalidEvent) -> str | None:
    """Whether a person could make sense of a dead letter."""
    detail = invalid.detail
    if not detail.strip() or not detail.rstrip().endswith("."):
        return f"its reason is no sentence: {detail!r}"
    if not detail.isprintable():
        return f"its reason cannot be printed: {detail!r}"
    return None if len(detail) <= _LONGEST_DETAIL else "its reason is too long to be read"
