"""What goes wrong on demand, and how a client sees it."""

import random
from collections.abc import Sequence
from functools import partial

import aiohttp
import anthropic
import orjson
import pytest
from anthropic import AsyncAnthropic
from anthropic.types import Message

from pipeline.local.simulated import Fault, SimulatedApi, Simulation
from pipeline.local.simulated.injected_faults import GROUPS, IN_BATCH_REQUESTS, KINDS, Faults
from tests.local.simulated.conftest import HAIKU, SONNET, answer_of, asking, client_of, schema_of


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("overloaded:0.1", Fault("overloaded", share=0.1)),
        ("server_error,next=3", Fault("server_error", next=3)),
        ("outage:60:30", Fault("outage", after=60, duration=30)),
        ("gone:5:1", Fault("gone", after=5, duration=1)),
        ("slow:0.05,seconds=20", Fault("slow", share=0.05, seconds=20)),
        (
            f"html:0.5,from=60,for=30,model={HAIKU}",
            Fault("html", share=0.5, after=60, duration=30, model=HAIKU),
        ),
        ("refusal,category=bio", Fault("refusal", category="bio")),
        ("hang,match=two words", Fault("hang", match="two words")),
    ],
)
def test_faults_are_written_in_one_line(text: str, fault: Fault) -> None:
    assert Fault.parse(text) == fault


@pytest.mark.parametrize(
    "text",
    ["", "sadness", "overloaded:2", "overloaded:0", "overloaded:x", "html,by=me", "html:1:2"],
)
def test_what_is_no_fault_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"fault|share"):
        Fault.parse(text)


def drawn(fault: Fault, times: Sequence[float], model: str = HAIKU) -> list[bool]:
    faults = Faults(random.Random(7))
    faults.add(fault, 100)
    return [bool(faults.draw(model, 100 + time)) for time in times]


def test_a_share_of_the_calls_fails() -> None:
    assert 80 < sum(drawn(Fault("overloaded", share=0.1), [0] * 1000)) < 120


def test_a_fault_may_have_its_time() -> None:
    outage = Fault("outage", after=10, duration=5)
    assert drawn(outage, [0, 9.9, 10, 14.9, 15, 100]) == [False, False, True, True, False, False]


def test_a_fault_may_last_some_calls() -> None:
    assert drawn(Fault("html", next=2), [0] * 4) == [True, True, False, False]


def test_a_fault_may_be_one_models_own() -> None:
    fault = Fault("html", model=SONNET)
    assert drawn(fault, [0]) == [False]
    assert drawn(fault, [0], SONNET) == [True]


def test_a_fault_may_befall_some_texts_only() -> None:
    faults = Faults(random.Random(7))
    faults.add(Fault("server_error", match="poison"), 0)
    texts = ["all is well", "a poison", "well again"]
    drawn_for = {text: bool(faults.draw(HAIKU, 1, partial(str, text))) for text in texts}
    assert drawn_for == {"all is well": False, "a poison": True, "well again": False}
    assert not faults.draw(HAIKU, 1)
    assert not faults.draw(HAIKU, 1, kinds=IN_BATCH_REQUESTS)


def test_a_group_stands_for_any_of_its_kinds() -> None:
    faults = Faults(random.Random(1))
    faults.add(Fault("errors"), 0)
    kinds = {fault.kind for _ in range(200) for fault in faults.draw(HAIKU, 0)}
    assert kinds == set(GROUPS["errors"])
    assert kinds < KINDS


def test_only_one_thing_goes_wrong_with_a_call_beside_its_slowness() -> None:
    faults = Faults(random.Random(1))
    for kind in ("slow", "overloaded", "html"):
        faults.add(Fault(kind), 0)
    assert [fault.kind for fault in faults.draw(HAIKU, 0)] == ["slow", "overloaded"]


async def failing(fault: Fault) -> BaseException:
    async with SimulatedApi(Simulation(faults=(fault,))) as api, client_of(api) as client:
        with pytest.raises(anthropic.AnthropicError) as caught:
            await client.messages.create(**asking())
        (line,) = api.control.ledger
        assert not line.billed
        assert line.outcome == fault.kind
    return caught.value


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("overloaded", 529), ("outage", 529), ("server_error", 500), ("unavailable", 503),
        ("timeout", 504), ("html", 502), ("rate_limited", 429), ("bad_key", 401),
        ("forbidden", 403), ("billing", 402), ("own_spend_limit", 400),
        ("contract_spend_limit", 429),
    ],
)  # fmt: skip
async def test_errors_come_with_their_status(kind: str, status: int) -> None:
    error = await failing(Fault(kind))
    assert isinstance(error, anthropic.APIStatusError)
    assert error.status_code == status


@pytest.mark.parametrize("kind", ["disconnect", "gone"])
async def test_a_connection_may_be_cut_before_an_answer(kind: str) -> None:
    assert isinstance(await failing(Fault(kind)), anthropic.APIConnectionError)


async def test_a_connection_may_be_cut_in_an_answer_that_is_billed() -> None:
    simulation = Simulation(faults=(Fault("disconnect_midway"),))
    async with SimulatedApi(simulation) as api, client_of(api) as client:
        with pytest.raises(anthropic.APIConnectionError):
            await client.messages.create(**asking())
        (line,) = api.control.ledger
    assert (line.billed, line.status) == (True, 0)


async def test_an_answer_may_hang_until_the_client_gives_up() -> None:
    async with SimulatedApi(Simulation(faults=(Fault("hang"),))) as api:
        client = client_of(api).with_options(timeout=0.1)
        with pytest.raises(anthropic.APITimeoutError):
            await client.messages.create(**asking())
        await client.close()


async def spoiled(fault: Fault) -> Message:
    schema = schema_of(intent={"enum": ["billing", "sales"]}, confidence={"type": "number"})
    async with SimulatedApi(Simulation(faults=(fault,))) as api, client_of(api) as client:
        asked = asking("A bill.", output_config=schema)
        message: Message = await client.messages.create(**asked)
        (line,) = api.control.ledger
        assert line.outcome == fault.kind
        assert line.billed == (fault.category != "cyber")
    return message


async def test_an_answer_may_be_no_json() -> None:
    message = await spoiled(Fault("malformed"))
    with pytest.raises(orjson.JSONDecodeError):
        answer_of(message)


async def test_an_answer_may_be_cut_off() -> None:
    message = await spoiled(Fault("cut_off"))
    assert message.stop_reason == "max_tokens"


async def test_an_answer_may_have_no_text_at_all() -> None:
    message = await spoiled(Fault("no_text"))
    assert message.stop_reason == "max_tokens"
    assert [block.type for block in message.content] == ["thinking"]


async def test_an_enum_may_come_in_another_case() -> None:
    message = await spoiled(Fault("case"))
    assert answer_of(message)["intent"] == "Billing"


@pytest.mark.parametrize("category", ["bio", "cyber"])
async def test_a_refusal_is_billed_or_not_by_its_category(category: str) -> None:
    message = await spoiled(Fault("refusal", category=category))
    assert message.stop_reason == "refusal"
    assert message.stop_details is not None
    assert message.stop_details.category == category
    assert message.content == []


@pytest.mark.parametrize("name", ["reasoning", "thinking"])
async def test_sonnet_refuses_to_show_its_reasoning(client: AsyncAnthropic, name: str) -> None:
    schema = schema_of(**{name: {"type": "string"}})
    haiku = await client.messages.create(**asking(output_config=schema))
    sonnet = await client.messages.create(
        **asking(output_config=schema, model=SONNET, thinking={"type": "between_tools"})
    )
    assert haiku.stop_reason == "end_turn"
    assert sonnet.stop_reason == "refusal"
    assert sonnet.stop_details is not None
    assert sonnet.stop_details.category == "reasoning_extraction"


async def test_faults_are_added_and_removed_while_it_runs(
    api: SimulatedApi, client: AsyncAnthropic
) -> None:
    url = f"{api.base_url}/admin/faults"
    async with aiohttp.ClientSession() as http:
        async with http.post(url, json={"fault": "overloaded"}) as response:
            assert [fault["kind"] for fault in await response.json()] == ["overloaded"]
        with pytest.raises(anthropic.OverloadedError):
            await client.messages.create(**asking())
        async with http.delete(url) as response:
            assert await response.json() == []
        await client.messages.create(**asking())
        async with http.post(url, json={"fault": "sadness"}) as response:
            assert response.status == 400


async def test_all_endpoints_are_gone_together() -> None:
    async with SimulatedApi(Simulation(faults=(Fault("gone"),))) as api, client_of(api) as client:
        with pytest.raises(anthropic.APIConnectionError):
            await client.models.list()
        with pytest.raises(anthropic.APIConnectionError):
            await client.messages.batches.list()


@pytest.mark.parametrize(
    ("kind", "status"),
    [("lost_server_error", 500), ("lost_overloaded", 529), ("lost_timeout", 504),
     ("lost_html", 502), ("lost_disconnect", 0)],
)  # fmt: skip
async def test_a_response_may_be_lost_when_the_work_is_done(
    api: SimulatedApi, client: AsyncAnthropic, kind: str, status: int
) -> None:
    api.control.faults.add(Fault(kind, next=1), api.control.clock())
    # A look at the models is no work that could be lost.
    await client.models.list()
    with pytest.raises(anthropic.APIError):
        await client.messages.create(**asking())
    (served,) = api.control.ledger.billed()
    assert (served.status, served.outcome, served.billed) == (status, kind, True)
    assert (await client.messages.create(**asking())).stop_reason == "end_turn"
    assert len(api.control.ledger.billed()) == 2


async def test_a_response_may_be_lost_by_never_coming(
    api: SimulatedApi, client: AsyncAnthropic
) -> None:
    api.control.faults.add(Fault("lost_hang", next=1), api.control.clock())
    with pytest.raises(anthropic.APITimeoutError):
        await client.with_options(timeout=0.3).messages.create(**asking())
    assert len(api.control.ledger.billed()) == 1


async def test_a_batch_is_made_although_its_response_is_lost(
    api: SimulatedApi, client: AsyncAnthropic
) -> None:
    api.control.faults.add(Fault("lost_overloaded", next=1), api.control.clock())
    with pytest.raises(anthropic.APIStatusError):
        await client.messages.batches.create(
            requests=[{"custom_id": "e-1", "params": asking()}]  # type: ignore[typeddict-item]
        )
    assert len((await client.messages.batches.list()).data) == 1
