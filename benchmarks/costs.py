"""What 10,000 tickets cost in each way of asking about them.

`python -m benchmarks.costs` asks the simulated API, which counts tokens and keeps prompt caches,
about the same tickets in several ways, and prices what its ledger says was billed. Prints a
table, the goals, and one JSON object as its last line.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import anthropic
import uvloop

from benchmarks import tickets
from benchmarks.goals import Goal, Part, Table, at_most
from benchmarks.report import conclude, parser
from benchmarks.simulated import Admin, Row, simulated_api
from pipeline.claude.billing import PriceTable, Tokens
from pipeline.claude.gateway import Gateway
from pipeline.claude.message_batches import Succeeded
from pipeline.claude.model_facts import PRICES_AS_OF
from pipeline.claude.request_body import CacheTtl, Template, content_of
from pipeline.config import Settings
from pipeline.model.errors import AnswerError
from pipeline.model.questions import Question
from pipeline.model.records import Tier

HAIKU = "claude-haiku-5-5"
AT_ONCE = 64
TOGETHER = 8
_LATENCY = "median=0.02,sigma=0.3"
"""Short, because it is tokens that are counted; not 0, so that a cold cache meets many at once."""
_BATCHES_EVERY = 0.2

_ABOUT_BATCHES = """\
The API does not promise prompt cache hits in batches (30-98 % by its documentation): the two rows \
are the bounds."""

Questions = Sequence[Question[Any]]
Counted = Decimal | None
"""US dollars by the gateway's own count; None where there is no gateway."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way of asking.

    Args:
        name: Of its row.
        ask: Asks all questions; returns what the gateway says that they cost.
    """

    name: str
    ask: Callable[[Questions], Awaitable[Counted]]


@dataclass(frozen=True, slots=True)
class Bill:
    """What the ledger says of a way.

    Args:
        way: Which.
        requests: That were billed.
        tokens: Of all of them.
        usd: Their price.
        counted: The gateway's own count.
    """

    way: Way
    requests: int
    tokens: Tokens
    usd: Decimal
    counted: Counted


async def _each(questions: Questions, ask: Callable[[Question[Any]], Awaitable[object]]) -> None:
    left = iter(questions)

    async def work() -> None:
        for question in left:
            await ask(question)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())


def loop(ttl: CacheTtl | None) -> Callable[[Questions], Awaitable[Counted]]:
    """A loop around `messages.create`: one ticket a call, with the whole prompt each time.

    Args:
        ttl: Of the prompt cache, if the prompt is marked for it.
    """

    async def ask(questions: Questions) -> Counted:
        first = questions[0]
        template = Template(HAIKU, first.instructions, first.answer_schema, cache_ttl=ttl)
        async with AsyncExitStack() as stack:
            http = anthropic.DefaultAioHttpClient()
            sdk = await stack.enter_async_context(anthropic.AsyncAnthropic(http_client=http))

            async def create(question: Question[Any]) -> object:
                body = template.body(
                    content_of(question.parts), max_output_tokens=question.max_output_tokens
                )
                return await sdk.post("/v1/messages", cast_to=anthropic.types.Message, content=body)

            await _each(questions, create)
        return None

    return ask


def gateway(*, together: int = 1) -> Callable[[Questions], Awaitable[Counted]]:
    """The gateway.

    Args:
        together: Tickets that share a request.
    """

    async def ask(questions: Questions) -> Counted:
        settings = Settings()
        settings.stages.tickets.events_per_request = together
        spent = Decimal(0)
        async with Gateway(settings) as opened:

            async def one(question: Question[Any]) -> None:
                nonlocal spent
                try:
                    usage = (await opened.ask(question, Tier.HAIKU)).usage
                except AnswerError as error:
                    usage = error.usage
                spent += usage.cost_usd or 0

            left = iter(questions)

            async def work() -> None:
                for question in left:
                    await one(question)

            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE * together):
                    group.create_task(work())
        return spent

    return ask


def batch(*, prompt_cache: bool) -> Callable[[Questions], Awaitable[Counted]]:
    """The Message Batches API, in one batch.

    Args:
        prompt_cache: Whether the prompt is marked for the prompt cache.
    """

    async def ask(questions: Questions) -> Counted:
        settings = Settings()
        settings.claude.prompt_cache = "5m" if prompt_cache else "off"
        spent = Decimal(0)
        async with Gateway(settings) as opened:
            lane = opened.batch_lane()
            named = {f"t-{number}": question for number, question in enumerate(questions)}
            handed_in = await lane.api.submit(
                lane.request(question, Tier.HAIKU, name) for name, question in named.items()
            )
            while True:
                if (await lane.api.get(handed_in.id)).has_ended:
                    break
                await asyncio.sleep(_BATCHES_EVERY)
            async for result in lane.api.results(handed_in.id):
                if isinstance(result, Succeeded):
                    reply = lane.reply(named[result.custom_id], Tier.HAIKU, result)
                    spent += reply.usage.cost_usd or 0
        return spent

    return ask


WAYS = (
    Way("loop over messages.create", loop(None)),
    Way("the same, marked for the prompt cache", loop("5m")),
    Way("default settings", gateway()),
    Way(f"{TOGETHER} events a request", gateway(together=TOGETHER)),
    Way("batch, prompt cache never hit", batch(prompt_cache=False)),
    Way("batch, prompt cache", batch(prompt_cache=True)),
)


async def measure(api: Admin, way: Way, questions: Questions) -> Bill:
    """Ask about all tickets in one way, from a cold prompt cache."""
    await api.forget()
    counted = await way.ask(questions)
    billed = [row for row in await api.requests() if row["billed"]]
    return Bill(way, len(billed), _sum(billed), _price(billed), counted)


def _sum(rows: Iterable[Row]) -> Tokens:
    total = Tokens()
    for row in rows:
        one = tokens_of(row)
        total = Tokens(
            total.input + one.input,
            total.cache_read + one.cache_read,
            total.cache_write_5m + one.cache_write_5m,
            total.cache_write_1h + one.cache_write_1h,
            total.output + one.output,
        )
    return total


def _price(rows: Iterable[Row]) -> Decimal:
    """Each request is priced by itself: its length decides the band."""
    prices, total = PriceTable(), Decimal(0)
    for row in rows:
        cost = prices.cost(row["model"], tokens_of(row), batch=row["endpoint"] == "batch")
        if cost is None:
            raise ValueError(f"the price of {row['model']} is not known")
        total += cost
    return total


def tokens_of(row: Row) -> Tokens:
    return Tokens(
        row["input_tokens"],
        row["cache_read_tokens"],
        row["cache_write_5m_tokens"],
        row["cache_write_1h_tokens"],
        row["output_tokens"],
    )


async def run(count: int) -> Part:
    """Ask about so many tickets, in every way."""
    asking = tickets.Questions()
    questions = [asking.of(tickets.ticket(number)) for number in range(count)]
    async with simulated_api(
        "--latency", f"*:{_LATENCY}", "--latency", f"{HAIKU}:{_LATENCY}"
    ) as api:
        os.environ.update(api.environment)
        bills = [await measure(api, way, questions) for way in WAYS]
    return _part(bills, count)


def _part(bills: Sequence[Bill], count: int) -> Part:
    naive, marked, default, joint, _, batched = (bill.usd for bill in bills)
    off = max(abs(bill.counted - bill.usd) / bill.usd for bill in bills if bill.counted is not None)
    goals: list[Goal] = [
        at_most("default settings, of the loop", 100 * float(default / naive), 60, " %"),
        at_most(
            "default settings, of the loop with the cache", 100 * float(default / marked), 100, " %"
        ),
        at_most(f"{TOGETHER} events a request, of the loop", 100 * float(joint / naive), 60, " %"),
        at_most("batch, of the default", 100 * float(batched / default), 51, " %"),
        at_most("the gateway's own count differs from the ledger by", 100 * float(off), 0.01, " %"),
    ]
    table = Table(
        (
            "",
            "requests",
            "input",
            "cache reads",
            "cache writes",
            "output",
            "USD a 1,000 events",
            "of the loop",
        ),
        [
            (
                bill.way.name,
                f"{bill.requests:,}",
                f"{bill.tokens.input:,}",
                f"{bill.tokens.cache_read:,}",
                f"{bill.tokens.cache_write_5m + bill.tokens.cache_write_1h:,}",
                f"{bill.tokens.output:,}",
                f"{_thousand(bill, count):.4f}",
                f"{100 * bill.usd / naive:.0f} %",
            )
            for bill in bills
        ],
    )
    data = {bill.way.name: {"usd_per_thousand": round(_thousand(bill, count), 6)} for bill in bills}
    return Part(
        "costs",
        f"What {count:,} tickets cost",
        f"{count:,} different tickets, asked of a simulated Haiku 5.5 with the prompt and the"
        f" schema of the stage `tickets`, {AT_ONCE} at once, from a cold prompt cache. Tokens are"
        " those of the simulated API's ledger (estimates: the tokenizer is not public), prices"
        f" those of {PRICES_AS_OF}. The loop asks with thinking disabled and low effort, as the"
        " gateway does: left at the model's defaults it would pay for thinking, too. What goes on"
        " to Sonnet is not in the figures.",
        [table],
        goals,
        {"tickets": count, **data},
        (_ABOUT_BATCHES, _about_company(bills[3], count)),
    )


def _about_company(bill: Bill, count: int) -> str:
    """What is to be known of several events in one request."""
    again = bill.requests - -(-count // TOGETHER)
    return (
        f"{TOGETHER} events a request took {bill.requests:,} requests: {again:,} tickets were asked"
        " again alone, because their answer was missing, invalid or unclear. With the prompt cache"
        " on, what the others share costs little anyway: the gain is in requests, which is what"
        " the request limit counts, rather than in money. It changes what the model sees: whether"
        " the answers stay as good, only an evaluation on one's own data can say, which is why it"
        " is off by default."
    )


def _thousand(bill: Bill, count: int) -> float:
    return float(bill.usd) / count * 1000


def main() -> int:
    """Measure and print."""
    made = parser("costs", __doc__)
    made.add_argument("--tickets", type=int, default=10_000)
    options = made.parse_args()
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    return conclude(run(options.tickets), write=options.write)


if __name__ == "__main__":
    sys.exit(main())
