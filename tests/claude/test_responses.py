"""What a message means: its answer, its end, its model and its bill."""

from decimal import Decimal
from typing import Any, Literal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from pipeline.claude.billing import PriceTable, Tokens
from pipeline.claude.failures import Retry, failure_of
from pipeline.claude.responses import (
    Answered,
    HttpReply,
    UnusableAnswer,
    bill_of,
    read_message,
)
from pipeline.model.errors import AnswerError, Malformed, NoRoom, Refused, TruncatedResponse
from tests.claude.questions import SCHEMA, Labelled

ANSWER = {"label": "billing", "confidence": 0.95, "unclear": False}
WRITTEN = orjson.dumps(ANSWER).decode()
USAGE = {
    "input_tokens": 100,
    "output_tokens": 50,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "service_tier": "standard",
}


def message(*texts: str, **changes: object) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-5-5",
        "content": [{"type": "text", "text": text} for text in texts],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": USAGE,
        **changes,
    }


def read(*texts: str, **changes: object) -> Answered[Labelled] | UnusableAnswer:
    return read_message(message(*texts, **changes), Labelled, SCHEMA)


def answered(*texts: str, **changes: object) -> Answered[Labelled]:
    found = read(*texts, **changes)
    assert isinstance(found, Answered)
    return found


THINKING = {"type": "thinking", "thinking": "", "signature": "c2ln"}


@pytest.mark.parametrize(
    "texts",
    [
        (WRITTEN,),
        (f"```json\n{WRITTEN}\n```",),
        (f"Here you are:\n```json\n{WRITTEN}\n```\nAnything else?",),
        (f"\ufeff{WRITTEN}",),
        (WRITTEN[:20], WRITTEN[20:]),
        ("```json\n", WRITTEN, "\n```"),
        ("", WRITTEN, ""),
        (WRITTEN, WRITTEN),
    ],
)
def test_an_answer_is_read_in_every_form(texts: tuple[str, ...]) -> None:
    found = answered(*texts)
    assert found.answer.model_dump() == ANSWER
    assert found.signals == ()
    assert Labelled.model_validate_json(found.json) == found.answer


def test_an_answer_is_read_across_blocks_with_others_between() -> None:
    blocks: list[Any] = [
        THINKING,
        {"type": "text", "text": WRITTEN[:9]},
        THINKING,
        {"type": "redacted_thinking", "data": "x"},
        {"type": "text", "text": None},
        {"type": "text"},
        "no block",
        {"type": "text", "text": WRITTEN[9:]},
    ]
    assert answered(content=blocks).answer.label == "billing"
    assert answered(content=WRITTEN).answer.label == "billing"


@pytest.mark.parametrize(
    "reason",
    [None, "end_turn", "stop_sequence", "tool_use", "pause_turn", "stop", "", "a_new_one", 3, {}],
)
def test_a_whole_answer_is_read_whatever_is_said_of_its_end(reason: object) -> None:
    assert answered(WRITTEN, stop_reason=reason).answer.model_dump() == ANSWER


def test_a_response_that_says_nothing_of_its_end_is_read() -> None:
    whole = message(WRITTEN)
    del whole["stop_reason"]
    assert isinstance(read_message(whole, Labelled, SCHEMA), Answered)


@pytest.mark.parametrize(
    ("reason", "texts", "error"),
    [
        ("model_context_window_exceeded", (WRITTEN[:20],), NoRoom),
        ("max_tokens", (WRITTEN[:20],), TruncatedResponse),
        ("max_tokens", (), TruncatedResponse),
        ("refusal", (), Refused),
        ("refusal", ("I can not help with that.",), Refused),
        ("refusal", (WRITTEN,), Refused),
        (None, (WRITTEN[:20],), Malformed),
        ("end_turn", (), Malformed),
        ("end_turn", ("",), Malformed),
        ("pause_turn", ("One moment.",), Malformed),
        ("tool_use", (), Malformed),
        ("end_turn", ('{"label": "weather"}',), Malformed),
        ("end_turn", ("[" * 100_000,), Malformed),
    ],
)
def test_what_is_no_answer_says_why_and_whether_to_ask_again(
    reason: object, texts: tuple[str, ...], error: type[AnswerError]
) -> None:
    found = read(*texts, stop_reason=reason)
    assert isinstance(found, UnusableAnswer)
    assert found.error is error
    assert found.bill.is_known


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"label":"sales","label":"billing","confidence":1,"unclear":false}', "a key twice"),
        ('{"label":"billing","confidence":1,"unclear":false,"unclear":false}', "a key twice"),
        (f"{WRITTEN} or {WRITTEN.replace('billing', 'sales')}", "several answers"),
    ],
)
def test_an_answer_that_would_have_to_be_guessed_is_doubtful(text: str, fault: str) -> None:
    (signal,) = answered(text).signals
    assert (signal.code, signal.strength) == ("broken_form", 1.0)
    assert fault in signal.detail


def test_the_same_answer_in_another_case_is_the_same() -> None:
    found = answered(f"{WRITTEN}\n{WRITTEN.replace('billing', 'BILLING')}")
    assert found.signals == ()


class Noted(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    note: str
    kind: Literal["a", "b"] | None = None
    count: int = 0
    share: float = 0.0
    sure: bool = False


def noted(text: str) -> Answered[Noted] | UnusableAnswer:
    return read_message(message(text), Noted, {})


def test_a_nul_is_a_doubt_and_goes_no_further() -> None:
    found = noted('{"note": "one\\u0000two"}')
    assert isinstance(found, Answered)
    assert found.answer.note == "one\ufffdtwo"
    assert [signal.code for signal in found.signals] == ["broken_form"]
    assert b"\\u0000" not in found.json


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{"note":"x","count":"12","share":"0.5","sure":"true"}', Noted(
            note="x", count=12, share=0.5, sure=True)),
        ('{"note":100.00}', Noted(note="100.00")),
        ('{"note":12345678901234567890.10,"count":3,"share":0.25}', Noted(
            note="12345678901234567890.10", count=3, share=0.25)),
        ('{"note":7,"count":"7"}', Noted(note="7", count=7)),
    ],
)  # fmt: skip
def test_a_number_and_its_digits_are_taken_for_each_other(text: str, wanted: Noted) -> None:
    found = noted(text)
    assert isinstance(found, Answered)
    assert found.answer == wanted
    assert Noted.model_validate_json(found.json) == wanted


@pytest.mark.parametrize(
    "text", ['{"note":true}', '{"note":null}', '{"note":["x"]}', '{"note":"x","count":"a few"}']
)
def test_what_would_lose_something_is_not_taken(text: str) -> None:
    found = noted(text)
    assert isinstance(found, UnusableAnswer)
    assert found.error is Malformed


def test_half_a_surrogate_in_a_response_is_repaired() -> None:
    text = orjson.dumps(orjson.dumps({"note": "Customer HALF was charged twice."}).decode())
    body = orjson.dumps(message()).replace(
        b'"content":[]', b'"content":[{"type":"text","text":%b}]' % text
    )
    reply = HttpReply(200, {}, body.replace(b"HALF", b"\\ud83d"))
    found = read_message(reply.document(), Noted, {})
    assert isinstance(found, Answered)
    assert found.answer.note == "Customer \ufffd was charged twice."
    assert found.signals == ()


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"type":"error"}', b'{"id":"msg_1"}'])
def test_what_is_not_a_message_is_malformed(body: bytes) -> None:
    reply = HttpReply(200, {}, body)
    assert reply.document().get("type") != "message"
    assert isinstance(failure_of(reply, seconds=1), Retry)


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b'{"content":[{"id":"inner"}],"id":"msg_1"}', "msg_1"),
        (b'{"id":"msg_\\ud83d"}', "msg_\ufffd"),
        (b'{"id":""}', None),
        (b'{"id":1}', None),
        (b"[]", None),
        (b"<html>", None),
    ],
)
def test_the_id_of_a_message_is_its_own(body: bytes, wanted: str | None) -> None:
    assert HttpReply(200, {}, body).message_id == wanted


@pytest.mark.parametrize("model", [None, 3, {}, []])
def test_an_answer_without_a_model_name_has_an_empty_one(model: object) -> None:
    found = answered(WRITTEN, model=model)
    assert found.model == ""
    assert PriceTable().cost(found.model, found.bill.tokens) is None


UNKNOWN: list[Any] = [
    None, 3, "many", [], {},
    {"input_tokens": 100}, {"output_tokens": 50}, {**USAGE, "output_tokens": None},
    {**USAGE, "input_tokens": -1}, {**USAGE, "output_tokens": "50"},
    {**USAGE, "output_tokens": 50.0}, {**USAGE, "input_tokens": True},
    {**USAGE, "input_tokens": 10**9}, {**USAGE, "output_tokens": 10**30},
    {**USAGE, "cache_read_input_tokens": -5}, {**USAGE, "cache_read_input_tokens": "all"},
    {**USAGE, "cache_creation_input_tokens": 1.5},
    {**USAGE, "cache_creation": {"ephemeral_1h_input_tokens": "x"}},
    {**USAGE, "cache_creation": {"ephemeral_1h_input_tokens": 700}},
    {**USAGE, "input_tokens": 0},
]  # fmt: skip


@pytest.mark.parametrize("usage", UNKNOWN)
def test_usage_that_is_missing_or_cannot_be_is_unknown_and_never_0(usage: object) -> None:
    assert not bill_of(usage).is_known


def test_what_usage_does_say_is_kept() -> None:
    assert bill_of({"input_tokens": 100, "output_tokens": "x"}).tokens == Tokens(input=100)


@pytest.mark.parametrize(
    "usage",
    [
        {"input_tokens": 1, "output_tokens": 0},
        {**USAGE, "cache_creation_input_tokens": None, "cache_read_input_tokens": None},
        {**USAGE, "cache_creation": None},
        {**USAGE, "cache_creation": {"ephemeral_5m_input_tokens": 0}},
        {"input_tokens": 0, "cache_read_input_tokens": 700, "output_tokens": 5},
    ],
)
def test_a_prompt_cache_that_was_not_used_may_go_unsaid(usage: dict[str, Any]) -> None:
    assert bill_of(usage).is_known


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from([*USAGE, "cache_creation", "ephemeral_1h_input_tokens"]), inner
            )
        ),
        max_leaves=8,
    )
)
def test_no_usage_makes_a_cost_that_is_wrong(usage: object) -> None:
    bill = bill_of(usage)
    cost = PriceTable().cost("claude-haiku-5-5", bill.tokens)
    assert cost is not None
    assert cost >= 0
    assert not bill.is_known or cost > Decimal(0)
