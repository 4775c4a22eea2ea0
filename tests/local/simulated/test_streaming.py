"""Answers as server-sent events."""

from anthropic import AsyncAnthropic

from tests.local.simulated.conftest import asking, schema_of, text_of

TOOL = {
    "name": "note",
    "description": "Notes a ticket.",
    "input_schema": {
        "type": "object",
        "properties": {"language": {"type": "string"}},
        "required": ["language"],
    },
}


async def test_a_streamed_answer_is_the_same_answer(client: AsyncAnthropic) -> None:
    request = asking(
        "Das ist eine ganz normale Frage nach der Rechnung.",
        output_config=schema_of(language={"type": "string"}, summary={"type": "string"}),
        thinking=None,
        max_tokens=3000,
    )
    whole = await client.messages.create(**request)
    async with client.messages.stream(**request) as stream:
        streamed = await stream.get_final_message()
    assert [block.type for block in streamed.content] == ["thinking", "text"]
    assert text_of(streamed) == text_of(whole)
    assert streamed.stop_reason == "end_turn"
    assert streamed.usage.output_tokens == whole.usage.output_tokens


async def test_a_forced_tool_gets_its_input(client: AsyncAnthropic) -> None:
    request = asking(
        "Wo ist meine Rechnung?", tools=[TOOL], tool_choice={"type": "tool", "name": "note"}
    )
    message = await client.messages.create(**request)
    assert message.stop_reason == "tool_use"
    assert message.content[-1].type == "tool_use"
    assert message.content[-1].input == {"language": "de"}
    async with client.messages.stream(**request) as stream:
        streamed = await stream.get_final_message()
    assert streamed.content[-1].type == "tool_use"
    assert streamed.content[-1].input == {"language": "de"}
