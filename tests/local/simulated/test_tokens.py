"""What prompts and answers count."""

import pytest
from anthropic import AsyncAnthropic
from hypothesis import given
from hypothesis import strategies as st

from pipeline.local.simulated.served_models import MODELS, image_tokens, text_tokens, text_within
from tests.local.simulated.conftest import HAIKU, asking, schema_of, text_of


@pytest.mark.parametrize(
    ("size", "tokens"),
    [((1000, 1000), 1296), ((1920, 1080), 2691), ((2000, 1500), 3888), ((3840, 2160), 4784)],
)
def test_images_count_as_documented(size: tuple[int, int], tokens: int) -> None:
    assert image_tokens(*size, MODELS[HAIKU]) == tokens


@given(st.text())
def test_a_text_cut_to_its_own_count_is_whole(text: str) -> None:
    assert text_within(text, text_tokens(text)) == text


@given(st.text(), st.integers(0, 50))
def test_a_cut_text_never_counts_more(text: str, tokens: int) -> None:
    cut = text_within(text, tokens)
    assert text.startswith(cut)
    assert text_tokens(cut) <= tokens


async def test_counting_states_what_a_request_will_use(client: AsyncAnthropic) -> None:
    request = asking("A ticket.", output_config=schema_of(a={"type": "string"}))
    message = await client.messages.create(**request)
    del request["max_tokens"]
    counted = await client.messages.count_tokens(**request)
    assert counted.input_tokens == message.usage.input_tokens


async def test_a_schema_costs_tokens(client: AsyncAnthropic) -> None:
    plain = await client.messages.create(**asking())
    schema = await client.messages.create(
        **asking(output_config=schema_of(answer={"type": "string"}))
    )
    assert schema.usage.input_tokens > plain.usage.input_tokens


async def test_an_answer_ends_at_max_tokens(client: AsyncAnthropic) -> None:
    schema = schema_of(summary={"type": "string"}, confidence={"type": "number"})
    message = await client.messages.create(
        **asking("Words. " * 40, max_tokens=5, output_config=schema)
    )
    assert message.stop_reason == "max_tokens"
    assert message.usage.output_tokens == 5
    assert text_of(message) == '{"summary":"'


async def test_thinking_counts_as_output_and_can_use_all_of_it(client: AsyncAnthropic) -> None:
    message = await client.messages.create(**asking(thinking=None, max_tokens=10))
    assert message.stop_reason == "max_tokens"
    assert [block.type for block in message.content] == ["thinking"]
    assert message.usage.output_tokens == 10


async def test_an_answer_after_thinking_begins_with_an_empty_block(client: AsyncAnthropic) -> None:
    message = await client.messages.create(**asking(thinking=None, max_tokens=2000))
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.content[0].type == "thinking"
    assert message.content[0].thinking == ""
    details = message.usage.output_tokens_details
    assert details is not None
    assert 0 < details.thinking_tokens < message.usage.output_tokens


async def test_a_stop_sequence_ends_the_answer(client: AsyncAnthropic) -> None:
    message = await client.messages.create(**asking("One. Two.", stop_sequences=["Two"]))
    assert message.stop_reason == "stop_sequence"
    assert message.stop_sequence == "Two"
