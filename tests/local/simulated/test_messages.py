"""`POST /v1/messages` through the SDK: the shape of what comes back."""

from anthropic import AsyncAnthropic

from pipeline.local.simulated import SimulatedApi
from tests.local.simulated.conftest import HAIKU, SONNET, answer_of, asking, schema_of

INTENTS = {"type": "string", "enum": ["billing", "technical_support"]}


async def test_an_answer_names_the_model_as_simulated(client: AsyncAnthropic) -> None:
    message = await client.messages.create(**asking())
    assert message.model == f"simulated-{HAIKU}"
    assert message.role == "assistant"
    assert message.stop_reason == "end_turn"
    assert message._request_id


async def test_an_answer_fills_the_schema_in_its_order(client: AsyncAnthropic) -> None:
    message = await client.messages.create(
        **asking(
            "I was charged twice on my invoice, please refund the payment.",
            output_config=schema_of(
                quote={"type": "string"}, intent=INTENTS, confidence={"type": "number"}
            ),
        )
    )
    answer = answer_of(message)
    assert list(answer) == ["quote", "intent", "confidence"]
    assert answer["intent"] == "billing"
    assert answer["quote"] in "I was charged twice on my invoice, please refund the payment."
    assert 0 < answer["confidence"] < 1


async def test_sonnet_is_surer_than_haiku(client: AsyncAnthropic) -> None:
    sure = {}
    for model, thinking in ((HAIKU, "disabled"), (SONNET, "between_tools")):
        message = await client.messages.create(
            **asking(
                "I need technical support, the invoice is fine.",
                model=model,
                thinking={"type": thinking},
                output_config=schema_of(intent=INTENTS, confidence={"type": "number"}),
            )
        )
        sure[model] = answer_of(message)["confidence"]
    assert sure[SONNET] > sure[HAIKU]


async def test_the_ledger_counts_what_was_billed(api: SimulatedApi, client: AsyncAnthropic) -> None:
    await client.messages.create(**asking("One."))
    await client.messages.create(**asking("Two."))
    await client.messages.create(**asking("Two."))
    counters = api.control.ledger.counters()
    assert counters["models"][HAIKU]["billed"] == 3
    assert counters["distinct_billed"] == 2
