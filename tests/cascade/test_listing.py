"""Whatever an answer is: it is escalated if, and only if, there is a doubt, and lists them all."""

import asyncio

import orjson
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cascade.deciding import CascadePolicy
from pipeline.cascade.policy import Policy, StagePolicy, audit_doubts, statement_signals
from pipeline.cascade.processor import Processor
from pipeline.cascade.reading import RawEvents
from pipeline.config import Thresholds, TopicSettings
from pipeline.kafka.topics import TopicNames
from pipeline.model.observer import Observer
from pipeline.model.records import Tier
from pipeline.stream.records import Disposition
from tests.cascade.stand_ins import (
    NOON,
    NoteAnswer,
    NoteStage,
    ScriptedAsker,
    published,
    received,
)

answers = st.builds(
    NoteAnswer,
    mood=st.sampled_from(["glad", "sad"]),
    confidence=st.floats(-1, 2),
    unclear=st.booleans(),
    doubtful=st.booleans(),
)
policies = st.builds(
    StagePolicy,
    st.builds(Thresholds, low_confidence=st.floats(0, 1.2), unclear=st.floats(0, 1.2)),
    st.dictionaries(
        st.sampled_from(["glad", "sad"]), st.builds(Thresholds, unclear=st.floats(0, 1.2))
    ),
    st.sampled_from([0.0, 0.5, 1.0]),
)


class Codes(Observer):
    """Keeps the doubts that are reported."""

    def __init__(self) -> None:
        self.doubted_codes: list[str] = []

    def doubted(self, stage: str, code: str) -> None:
        self.doubted_codes.append(code)


@given(answers, policies)
def test_every_doubt_is_on_the_record_and_in_the_metric(
    answer: NoteAnswer, of_stage: StagePolicy
) -> None:
    policy = Policy({("notes", Tier.HAIKU): of_stage})
    observer, stage = Codes(), NoteStage()
    record = received({"id": "n-1", "text": "all is well"})
    processor = Processor(
        RawEvents(stage),
        CascadePolicy(ScriptedAsker(answer), policy, Tier.HAIKU),
        TopicNames(TopicSettings()),
        clock=lambda: NOON,
        observer=observer,
    )

    outcome = asyncio.run(processor(record))

    event = stage.parse(orjson.dumps({"id": "n-1", "text": "all is well"}), key=None, headers={})
    signals = [*statement_signals(answer), *stage.signals(event, answer)]
    own = policy["notes", Tier.HAIKU]
    expected = [
        *own.doubts(signals, label=answer.mood),
        *audit_doubts("notes", "n-1", record.timestamp, own.audit_share),
    ]
    assert outcome.end is (Disposition.ESCALATED if expected else Disposition.ENRICHED)
    assert observer.doubted_codes == [doubt.code for doubt in expected]
    if expected:
        assert published(outcome)["doubts"] == [doubt.model_dump() for doubt in expected]
