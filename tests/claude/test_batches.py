"""Message batches, over the real SDK against the simulated API."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from pipeline.claude.failures import Backoff
from pipeline.claude.gateway import SAVE_SECONDS, Gateway
from pipeline.claude.message_batches import (
    Batch,
    Batches,
    BatchFailed,
    BatchRequest,
    NotAnswered,
    SubmissionUnknown,
    Succeeded,
    body_of,
)
from pipeline.claude.responses import HttpReply, NoReply
from pipeline.config import Settings
from pipeline.local.simulated.control import Simulation
from pipeline.local.simulated.injected_faults import Fault
from pipeline.local.simulated.server import SimulatedApi
from pipeline.model.errors import Refused
from pipeline.model.records import Tier
from pipeline.testing.fakes import FakeClient
from tests.claude.gateways import Watcher
from tests.claude.questions import about
from tests.claude.server import ShapeServer, shape, shape_server


@pytest.fixture
async def api(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SimulatedApi]:
    async with SimulatedApi(Simulation(batch_seconds=0.05)) as running:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", running.base_url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "key-of-a-test")
        yield running


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()


@pytest.fixture
async def gateway(api: SimulatedApi, watcher: Watcher) -> AsyncIterator[Gateway]:
    async with Gateway(quick(), observer=watcher) as opened:
        yield opened


def quick() -> Settings:
    settings = Settings()
    settings.claude.backoff_max = 0.01
    return settings


async def ended(gateway: Gateway, batch_id: str) -> Batch:
    async with asyncio.timeout(10):
        while True:
            batch = await gateway.batch_lane().api.get(batch_id)
            if batch.has_ended:
                return batch
            await asyncio.sleep(0.02)


async def test_questions_come_back_as_replies_at_half_the_price(
    gateway: Gateway, watcher: Watcher
) -> None:
    lane = gateway.batch_lane()
    questions = {f"e-{n}": about(f"I was charged twice, {n}.") for n in range(3)}
    submitted = await lane.api.submit(
        lane.request(question, Tier.HAIKU, name) for name, question in questions.items()
    )
    assert not submitted.has_ended
    batch = await ended(gateway, submitted.id)
    assert (batch.request_counts.succeeded, batch.request_counts.total) == (3, 3)
    replies = {
        result.custom_id: lane.reply(questions[result.custom_id], Tier.HAIKU, result)
        async for result in lane.api.results(batch.id)
        if isinstance(result, Succeeded)
    }
    assert replies.keys() == questions.keys()
    alone = await gateway.ask(questions["e-0"], Tier.HAIKU)
    share = replies["e-0"].usage.cost_usd
    assert alone.usage.cost_usd is not None
    assert share is not None
    assert share * 2 == alone.usage.cost_usd
    await asyncio.sleep(2 * SAVE_SECONDS)
    assert watcher.spending["tickets", "day"] == share * 3 + alone.usage.cost_usd


async def test_what_was_not_answered_says_why(api: SimulatedApi, gateway: Gateway) -> None:
    api.control.faults.add(Fault("expired", next=1), api.control.clock())
    api.control.faults.add(Fault("errored", next=1), api.control.clock())
    lane = gateway.batch_lane()
    submitted = await lane.api.submit(
        lane.request(about(str(n)), Tier.HAIKU, f"e-{n}") for n in range(2)
    )
    await ended(gateway, submitted.id)
    results = [result async for result in lane.api.results(submitted.id)]
    assert all(isinstance(result, NotAnswered) for result in results)
    reasons = {result.why for result in results if isinstance(result, NotAnswered)}
    assert reasons == {"expired", "errored"}


async def test_an_answer_that_is_no_use_is_raised_with_what_it_cost(gateway: Gateway) -> None:
    with pytest.raises(Refused) as raised:
        gateway.batch_lane().reply(
            about("a"), Tier.HAIKU, Succeeded("e-1", shape("refusal")["body"])
        )
    assert raised.value.usage.calls == 1


async def test_a_batch_whose_handle_was_lost_is_found_again(gateway: Gateway) -> None:
    lane = gateway.batch_lane()
    begin = datetime.now(UTC) - timedelta(seconds=1)
    submitted = [
        await lane.api.submit([lane.request(about(str(n)), Tier.HAIKU, f"e-{n}")]) for n in range(3)
    ]
    found = [batch.id async for batch in lane.api.since(begin)]
    assert sorted(found) == sorted(batch.id for batch in submitted)
    assert [batch async for batch in lane.api.since(begin + timedelta(days=1))] == []


async def test_a_batch_that_does_not_exist_is_an_error_in_a_sentence(gateway: Gateway) -> None:
    with pytest.raises(BatchFailed, match="msgbatch_none"):
        await gateway.batch_lane().api.get("msgbatch_none")


@pytest.fixture
async def shapes(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ShapeServer]:
    async with shape_server(then="batch", set_env=monkeypatch.setenv) as server:
        yield server


@pytest.mark.parametrize(
    "failure",
    [
        "gateway_timeout",
        "server_error",
        "overloaded",
        "empty_503",
        "html_502",
        "html_200",
        "request_timeout",
        "conflict",
        "cut_before_headers",
        "cut_mid_body",
    ],
)
async def test_a_submission_without_an_answer_is_not_repeated_blindly(
    shapes: ShapeServer, failure: str
) -> None:
    shapes.queue.append(failure)
    async with Gateway(quick()) as gateway:
        with pytest.raises(SubmissionUnknown):
            await gateway.batch_lane().api.submit([BatchRequest("e-1", b"{}")])
    assert len(shapes.requests) == 1


async def test_a_submission_without_an_answer_says_how_long_it_really_had(
    shapes: ShapeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.claude.message_batches.SUBMIT_SECONDS", 0.6)
    shapes.hold = asyncio.Event()
    async with Gateway(quick()) as gateway:
        with pytest.raises(SubmissionUnknown, match="within 1 s"):
            await gateway.batch_lane().api.submit([BatchRequest("e-1", b"{}")])


@pytest.mark.parametrize("body", [b"<html>Log in</html>", b"[]", b'{"data": [{"id": "x"}]}'])
async def test_something_else_than_a_list_of_batches_is_an_error_in_a_sentence(
    shapes: ShapeServer, body: bytes
) -> None:
    shapes.queue.append({"status": 200, "headers": {}, "raw": body.decode()})
    async with Gateway(quick()) as gateway:
        with pytest.raises(BatchFailed, match="something else than a list of batches"):
            async for _ in gateway.batch_lane().api.since(datetime(2026, 1, 1, tzinfo=UTC)):
                pass


@pytest.mark.parametrize("failure", ["rate_limited", "rate_limited_bare", "ramp_limit"])
async def test_a_submission_that_was_clearly_not_taken_is_repeated(
    shapes: ShapeServer, failure: str
) -> None:
    shapes.queue.append(failure)
    async with Gateway(quick()) as gateway:
        batch = await gateway.batch_lane().api.submit([BatchRequest("e-1", b"{}")])
    assert batch.id == "msgbatch_01Shape"
    assert len(shapes.requests) == 2


async def test_a_submission_that_never_reached_the_api_is_repeated() -> None:
    replies: list[HttpReply | NoReply] = [NoReply("disconnected", "connection refused", sent=False)]

    class Refusing(FakeClient):
        async def post(self, path: str, body: bytes, *, seconds: float) -> HttpReply | NoReply:
            return (
                replies.pop()
                if replies
                else HttpReply(200, {}, orjson.dumps(shape("batch")["body"]))
            )

    batches = Batches(Refusing(lambda _: replies[0]), backoff=Backoff(0.01, 0.01, lambda: 1))
    assert (await batches.submit([BatchRequest("e-1", b"{}")])).id == "msgbatch_01Shape"
    assert not replies


async def test_a_submission_that_is_answered_with_another_batch_is_unclear(
    shapes: ShapeServer,
) -> None:
    async with Gateway(quick()) as gateway:
        requests = [BatchRequest(f"e-{n}", b"{}") for n in range(7)]
        with pytest.raises(SubmissionUnknown, match="another batch"):
            await gateway.batch_lane().api.submit(requests)


LOST = ["lost_server_error", "lost_overloaded", "lost_timeout", "lost_html", "lost_disconnect"]


@pytest.mark.parametrize("fault", LOST)
async def test_a_batch_that_was_made_although_an_error_came_is_in_the_list_once(
    api: SimulatedApi, gateway: Gateway, fault: str
) -> None:
    api.control.faults.add(Fault(fault, next=1), api.control.clock())
    lane = gateway.batch_lane()
    begin = datetime.now(UTC) - timedelta(seconds=1)
    with pytest.raises(SubmissionUnknown):
        await lane.api.submit([lane.request(about("a"), Tier.HAIKU, "e-1")])
    (made,) = [batch async for batch in lane.api.since(begin)]
    await ended(gateway, made.id)
    assert [result.custom_id async for result in lane.api.results(made.id)] == ["e-1"]


async def test_a_status_that_is_of_another_batch_is_asked_again(shapes: ShapeServer) -> None:
    other = shape("batch")
    shapes.queue.append({**other, "body": {**other["body"], "id": "msgbatch_of_another"}})
    async with Gateway(quick()) as gateway:
        batch = await gateway.batch_lane().api.get("msgbatch_01Shape")
    assert batch.id == "msgbatch_01Shape"
    assert len(shapes.requests) == 2


async def test_a_result_with_half_a_surrogate_is_read(shapes: ShapeServer) -> None:
    line = '{"custom_id":"e-1","result":{"type":"succeeded","message":{"n":"a \\ud83d b"}}}'
    shapes.queue.append({"status": 200, "headers": {}, "raw": line})
    async with Gateway(quick()) as gateway:
        (result,) = [found async for found in gateway.batch_lane().api.results("msgbatch_1")]
    assert isinstance(result, Succeeded)
    assert result.message == {"n": "a \ufffd b"}


async def test_a_submission_that_is_rejected_is_an_error(shapes: ShapeServer) -> None:
    shapes.queue.append("bad_request")
    async with Gateway(quick()) as gateway:
        with pytest.raises(BatchFailed):
            await gateway.batch_lane().api.submit([BatchRequest("e-1", b"{}")])


def rejection(text: str) -> dict[str, Any]:
    error = {"type": "invalid_request_error", "message": text}
    return {"status": 400, "headers": {}, "body": {"type": "error", "error": error}}


BODIES = (
    "The credit balance is too low, says Ottoline of house 529, and is that field required?",
    "My neighbour borrowed the turquoise wheelbarrow of Quackenbush, 4111-1111.",
)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "requests.1.params: cannot take 'Quackenbush, 4111-1111'",
            "requests.1.params: cannot take [...]",
        ),
        ("e-1 is odd: borrowed the turquoise wheelbarrow", "e-1 is odd: [...]"),
        (f"cannot take {BODIES[1]!r} of key-of-a-test", "cannot take '[...]' of ***"),
        ("It is too low, is that field required?", None),
        ("Quackenbush?", "[...]?"),
        ("Ottoline says 529", "[...] says 529"),
        ("cannot take a turquoise wheelbarrow", "cannot take a [...]"),
        ("input_value='Quackenbush, 4111-1111'", "input_value='[...]'"),
        ("messages: text 'of Quackenbush,\\n4111-1111.'", "messages: text 'of [...]'"),
        ("Ottoline's number is missing", "[...]'s number is missing"),
    ],
)
async def test_what_a_failed_submission_repeats_of_the_content_is_left_out(
    shapes: ShapeServer, monkeypatch: pytest.MonkeyPatch, said: str, shown: str | None
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "key-of-a-test")
    shapes.queue.append(rejection(said))
    async with Gateway(quick()) as gateway:
        lane = gateway.batch_lane()
        with pytest.raises(BatchFailed) as raised:
            await lane.api.submit(
                lane.request(about(body), Tier.HAIKU, f"e-{n}") for n, body in enumerate(BODIES)
            )
    assert str(raised.value).endswith(f": {shown or said}")


async def test_results_that_break_off_are_read_again(shapes: ShapeServer) -> None:
    lines = [
        orjson.dumps({"custom_id": f"e-{n}", "result": {"type": "succeeded", "message": {"n": n}}})
        for n in range(50)
    ]
    whole: dict[str, Any] = {"status": 200, "headers": {}, "raw": b"\n".join(lines).decode()}
    half: dict[str, Any] = {**whole, "raw": whole["raw"][:2000]}
    page: dict[str, Any] = {**whole, "raw": "<html>Come back later.</html>"}
    other: dict[str, Any] = {**whole, "raw": '{"custom_id":"e-1","result":null}'}
    shapes.queue.extend(["overloaded", {**whole, "cut_after": 2000}, half, page, other, whole])
    async with Gateway(quick()) as gateway:
        results = [result async for result in gateway.batch_lane().api.results("msgbatch_1")]
    assert {result.custom_id for result in results} == {f"e-{n}" for n in range(50)}


def test_a_body_carries_requests_as_they_would_be_sent_alone() -> None:
    body = orjson.loads(body_of([BatchRequest("e-1", b'{"a":1}'), BatchRequest("e-2", b"{}")]))
    assert body == {
        "requests": [
            {"custom_id": "e-1", "params": {"a": 1}},
            {"custom_id": "e-2", "params": {}},
        ]
    }
