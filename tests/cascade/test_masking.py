"""An event on its way through a gateway that masks: what is checked, and what is published."""

from typing import Any

import orjson

from pipeline.cascade.deciding import CascadePolicy
from pipeline.cascade.policy import Policy
from pipeline.cascade.processor import Processor
from pipeline.cascade.reading import AnyStage, RawEvents, Reading
from pipeline.config import PrivacySettings, Settings
from pipeline.kafka.topics import TopicNames
from pipeline.model.errors import NotMaskable
from pipeline.model.observer import Observer
from pipeline.model.questions import Asker
from pipeline.model.records import Tier, Usage
from pipeline.stages.api import build_stages
from pipeline.stream.records import Disposition, Outcome
from pipeline.testing import run_in_virtual_time
from pipeline.testing.fakes import FakeClient, message
from tests.cascade.stand_ins import NOON, NoteStage, ScriptedAsker, published, received
from tests.claude.gateways import opened

BODY = "Please send the invoice of Anna Schmidt to anna@example.com. Thanks, Anna"
TICKET = {"id": "T-1", "subject": "Invoice", "body": BODY, "customer": {"name": "Anna Schmidt"}}
ANSWER = {
    "quote": "invoice of [CUSTOMER_1] to [EMAIL_1]",
    "intent": "billing",
    "runner_up": None,
    "several_matters": False,
    "priority": "normal",
    "language": "en",
    "summary": "[CUSTOMER_1] wants the invoice at [EMAIL_1].",
    "confidence": 0.97,
    "unclear": False,
}


async def handled(
    asker: Asker, settings: Settings, stage: AnyStage, event: dict[str, Any]
) -> Outcome:
    reading = Reading(masking=settings.privacy.masking())
    cascade = CascadePolicy(asker, Policy.from_settings(settings), Tier.HAIKU, reading)
    topics, observer = TopicNames.under(settings), Observer()
    processor = Processor(RawEvents(stage), cascade, topics, clock=lambda: NOON, observer=observer)
    return await processor(received(event))


def test_a_ticket_is_masked_by_kind_and_by_field_and_checked_and_published_as_it_was() -> None:
    own = {"tickets": {"fields": ["customer"]}}
    settings = Settings(privacy=PrivacySettings.model_validate({"mask": ["email"], "stages": own}))
    client = FakeClient(lambda _: message(ANSWER))
    stage = build_stages(settings.stages)["tickets"]

    async def main() -> Outcome:
        async with opened(client, settings=settings) as gateway:
            return await handled(gateway, settings, stage, TICKET)

    outcome = run_in_virtual_time(main())
    sent = orjson.dumps(client.sent).decode()
    assert not any(word in sent for word in ("Anna", "Schmidt", "anna@example.com"))
    assert "Please send the invoice of [CUSTOMER_1] to [EMAIL_1]. Thanks, [CUSTOMER_2]" in sent
    # Its quote was found in the ticket, or it would have been escalated.
    assert outcome.end is Disposition.ENRICHED
    record = published(outcome)
    assert record["result"]["summary"] == "Anna Schmidt wants the invoice at anna@example.com."
    assert record["source"]["extra"] == {"customer": {"name": "Anna Schmidt"}}


async def test_an_event_whose_file_may_not_be_asked_about_is_a_dead_letter_that_says_so() -> None:
    refusal = NotMaskable("A file cannot be masked.", usage=Usage(), model="none", seconds=0.0)
    outcome = await handled(
        ScriptedAsker(refusal), Settings(), NoteStage(), {"id": "n-1", "text": "x"}
    )
    assert outcome.end is Disposition.DEAD_LETTER
    headers = dict(outcome.records[0].headers)
    assert headers["dlq-reason"] == b"unsupported_media"
    assert headers["dlq-detail"] == b"A file cannot be masked."
    assert headers["dlq-attempts"] == b"0"
