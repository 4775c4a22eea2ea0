from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from pipeline.claude.billing import PriceTable, Tokens, otherwise_of
from pipeline.config import Settings
from pipeline.model.records import DOCUMENT, Tier, Usage
from pipeline.observe.dashboard import (
    STEP_SECONDS,
    WINDOW_SECONDS,
    About,
    Health,
    Status,
    desk_address,
)
from pipeline.observe.metrics import Conditions, Metrics
from pipeline.stream.records import Disposition
from pipeline.workers.fleet import Merged


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 11, 22, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def status(
    registry: CollectorRegistry,
    conditions: Conditions,
    metrics: Metrics,  # registered before the first reading
    health: Health,
    clock: Clock,
) -> Status:
    about = About("1.2.3", "exactly_once", ("tickets", "escalations"))
    return Status(about, registry, conditions, health, clock=clock.now, monotonic=clock.monotonic)


def test_before_the_first_event_nothing_is_claimed(status: Status) -> None:
    view = status.view()
    tickets = view["stages"][0]
    assert [stage["name"] for stage in view["stages"]] == ["tickets", "escalations"]
    assert tickets["lag_events"] is None
    assert tickets["partitions"] is None
    assert tickets["escalated_share"] is None
    assert tickets["p50_seconds"] is None
    assert view["cost_per_thousand_usd"] is None
    assert not view["simulated"]


def test_a_stage_shows_its_lag_pace_and_decisions(
    status: Status, metrics: Metrics, clock: Clock
) -> None:
    metrics.rebalanced("tickets", partitions=6, seconds=0.1)
    for partition in (0, 1):
        metrics.lag("tickets", "tickets.raw", partition, records=10, oldest_seconds=3.0 + partition)
        metrics.in_flight("tickets", "tickets.raw", partition, count=4)
    for end in ("enriched", "enriched", "enriched", "escalated"):
        metrics.received("tickets", "tickets.raw", 0, size=10)
        metrics.decided("tickets", Tier.HAIKU, end, model="m")
        metrics.completed("tickets", end, seconds=0.25)
    metrics.doubted("tickets", "low_confidence")
    metrics.decided("tickets", Tier.SONNET, "review", model="m")
    metrics.dead_lettered("tickets", "invalid_json")
    metrics.passed_over("tickets")
    clock.seconds = 10

    tickets = status.view()["stages"][0]
    assert tickets["partitions"] == 6
    assert tickets["lag_events"] == 20
    assert tickets["lag_seconds"] == 4.0
    assert tickets["in_flight"] == 8
    assert tickets["received_per_second"] == 0.4
    assert tickets["completed_per_second"] == 0.4
    assert tickets["p50_seconds"] == pytest.approx(0.25, abs=0.05)
    assert tickets["completed"] == {"enriched": 3, "escalated": 1}
    assert tickets["passed_over"] == 1
    assert tickets["decided"] == {
        "haiku": {"enriched": 3, "escalated": 1}, "sonnet": {"review": 1}, "document": {},
    }  # fmt: skip
    assert tickets["escalated_share"] == 0.25
    assert tickets["doubts"] == {"low_confidence": 1}
    assert tickets["dead_letters"] == {"invalid_json": 1}


def test_what_events_say_themselves_counts_among_what_was_judged_first(
    status: Status, metrics: Metrics
) -> None:
    metrics.decided("tickets", DOCUMENT, "enriched", model="none")
    metrics.decided("tickets", DOCUMENT, "enriched", model="none")
    metrics.decided("tickets", DOCUMENT, "escalated", model="none")
    metrics.decided("tickets", Tier.HAIKU, "escalated", model="m")
    tickets = status.view()["stages"][0]
    assert tickets["decided"]["document"] == {"enriched": 2, "escalated": 1}
    assert tickets["escalated_share"] == 0.5


def test_costs_are_shown_in_all_and_for_a_thousand_events(status: Status, metrics: Metrics) -> None:
    usage = Usage(calls=1, input_tokens=400, cost_usd=Decimal("0.0001"))
    for _ in range(4):
        metrics.call("tickets", "claude-x", "answered", seconds=0.5, usage=usage)
        metrics.decided("tickets", Tier.HAIKU, "enriched", model="m")
    metrics.spent("tickets", window="day", usd=Decimal("0.5"))
    metrics.spent("invoices", window="day", usd=Decimal("0.25"))

    view = status.view()
    assert view["cost_usd"] == pytest.approx(0.0004)
    assert view["cost_per_thousand_usd"] == pytest.approx(0.1)
    assert view["spent"] == {"day": 0.75}
    assert view["models"][0]["tokens"]["input"] == 1600


def test_what_the_first_answers_would_have_cost_otherwise_is_said_of_each_stage_and_all(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    settings = Settings()
    status = Status(
        About("1", "exactly_once", ("tickets", "invoices")), registry, Conditions(), Health(),
        otherwise=otherwise_of(settings),
    )  # fmt: skip
    first = Usage(calls=1, input_tokens=1000, cache_read_tokens=9000, output_tokens=100)
    for stage, model in (
        ("tickets", settings.models.haiku.name),
        ("invoices", settings.models.haiku.name),
        # What was doubted and asked again would not have been asked twice.
        ("tickets", settings.models.sonnet.name),
    ):
        metrics.call(stage, model, "answered", seconds=0.5, usage=first)
    prices = PriceTable()
    asked = Tokens(input=1000, cache_read=9000, output=100)
    sonnet = prices.cost(settings.models.sonnet.model, asked)
    loop = prices.cost(settings.models.haiku.model, Tokens(input=10_000, output=100))
    assert sonnet is not None
    assert loop is not None
    view = status.view()
    assert view["stages"][0]["otherwise"] == {
        "sonnet_alone_usd": pytest.approx(float(sonnet)),
        "plain_loop_usd": pytest.approx(float(loop)),
    }
    assert view["otherwise"]["sonnet_alone_usd"] == pytest.approx(2 * float(sonnet))


def test_the_partitions_that_are_most_behind_are_named(status: Status, metrics: Metrics) -> None:
    for partition in range(12):
        metrics.lag("tickets", "tickets.raw", partition, records=partition, oldest_seconds=1.0)
    behind = status.view()["stages"][0]["behind"]
    assert len(behind) == 10
    assert behind[0] == {"topic": "tickets.raw", "partition": 11, "lag_events": 11}
    assert [each["partition"] for each in behind] == list(range(11, 1, -1))
    metrics.lag("tickets", "tickets.raw", 11, records=0, oldest_seconds=None)
    assert status.view()["stages"][0]["behind"][0]["partition"] == 10


def test_simulated_answers_are_called_simulated(status: Status, metrics: Metrics) -> None:
    metrics.decided("tickets", Tier.HAIKU, "enriched", model="claude-haiku-5-5")
    assert not status.view()["simulated"]
    metrics.decided("tickets", Tier.HAIKU, "enriched", model="simulated-claude-haiku-5-5")
    assert status.view()["simulated"]


def test_reasons_are_shown_where_they_belong(
    status: Status, metrics: Metrics, health: Health
) -> None:
    health.add_readiness("api", lambda: "The API key is not accepted.")
    metrics.intake("tickets", paused_reason="Too many dead letters.")
    metrics.blocked("m", because="The API key is not accepted.")
    metrics.breaker("m", "open")

    view = status.view()
    assert not view["ready"]
    assert view["findings"][0].reason == "The API key is not accepted."
    assert view["stages"][0]["intake_closed_because"] == "Too many dead letters."
    assert view["models"][0]["blocked_because"] == "The API key is not accepted."
    assert view["models"][0]["breaker"] == "open"


def test_why_events_wait_for_their_turn_is_shown_and_makes_nothing_unready(
    status: Status, metrics: Metrics
) -> None:
    metrics.held("tickets", because="More is escalated than planned.")
    view = status.view()
    assert view["ready"]
    assert view["stages"][0]["intake_closed_because"] == "More is escalated than planned."
    metrics.held("tickets", because=None)
    assert status.view()["stages"][0]["intake_closed_because"] is None


def test_rates_forget_what_is_older_than_the_window(
    status: Status, metrics: Metrics, clock: Clock
) -> None:
    for _ in range(600):
        metrics.completed("tickets", "enriched", seconds=0.1)
    while clock.seconds < 3 * WINDOW_SECONDS:
        clock.seconds += STEP_SECONDS
        status.tick()
    view = status.view()
    assert view["window_seconds"] == WINDOW_SECONDS
    assert view["stages"][0]["completed_per_second"] == 0
    assert view["stages"][0]["completed"] == {"enriched": 600}


def test_the_history_is_bounded_and_holds_lag_and_pace(
    status: Status, metrics: Metrics, clock: Clock
) -> None:
    metrics.lag("tickets", "tickets.raw", 0, records=42, oldest_seconds=1.0)
    metrics.completed("tickets", "enriched", seconds=0.1)
    clock.seconds += STEP_SECONDS
    status.tick()
    first = status.view()["history"][0]
    assert (first["lag_events"], first["completed_per_second"]) == (42, 0.5)
    for _ in range(1000):
        clock.seconds += STEP_SECONDS
        status.tick()
    assert len(status.view()["history"]) == 300


def test_the_charts_have_a_row_of_numbers_for_each_stage(
    status: Status, metrics: Metrics, clock: Clock
) -> None:
    metrics.lag("tickets", "tickets.raw", 0, records=42, oldest_seconds=7.0)
    for _ in range(3):
        clock.seconds += STEP_SECONDS
        metrics.completed("tickets", Disposition.ENRICHED, seconds=0.4)
        status.tick()
    series = status.view()["series"]
    assert len(series["at"]) == 3
    assert series["at"][1] - series["at"][0] == STEP_SECONDS
    assert list(series["stages"]["tickets"]["lag_events"]) == [42, 42, 42]
    assert series["stages"]["tickets"]["completed_per_second"][-1] == 1 / STEP_SECONDS
    assert list(series["stages"]["escalations"]["lag_events"]) == [None, None, None]


def test_what_workers_say_of_one_thing_counts_once(
    registry: CollectorRegistry, health: Health, clock: Clock
) -> None:
    pages = {}
    for worker in ("0", "1"):
        own = CollectorRegistry()
        metrics = Metrics(own, Conditions())
        metrics.started(
            version="1", delivery="exactly_once", budgets={("tickets", "day"): Decimal(5)}
        )
        metrics.limit("haiku", "requests", limit=100, remaining=80 - 30 * int(worker))
        metrics.spent("tickets", window="day", usd=Decimal("1.5"))
        metrics.received("tickets", "tickets.raw", 0, size=1)
        metrics.lag("tickets", "tickets.raw", int(worker), records=10, oldest_seconds=1.0)
        metrics.call("tickets", "haiku", "answered", seconds=1.0, usage=None)
        pages[worker] = generate_latest(own).decode()
    about = About("1.2.3", "exactly_once", ("tickets",))
    view = Status(about, Merged(pages), Conditions(), health, clock=clock.now).view()
    [model], [tickets] = view["models"], view["stages"]
    assert (model["limits"], model["remaining"]) == ({"requests": 100}, {"requests": 50})
    assert (tickets["spent"], tickets["budget"]) == ({"day": 1.5}, {"day": 5})
    assert (tickets["lag_events"], model["calls"]) == (20, {"answered": 2})


def test_a_model_shows_which_tiers_ask_it_and_in_which_place(
    status: Status, metrics: Metrics
) -> None:
    metrics.in_use(Tier.HAIKU, "m", "first", in_use=False)
    metrics.in_use(Tier.HAIKU, "aws/m", "fallback", in_use=True)
    metrics.in_use(Tier.SONNET, "aws/m", "first", in_use=True)
    places = {model["name"]: model["places"] for model in status.view()["models"]}
    assert places == {
        "m": {"first": {"haiku": False}, "fallback": {}},
        "aws/m": {"first": {"sonnet": True}, "fallback": {"haiku": True}},
    }


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        ({}, None),
        ({"desk": {"access": {"url": "https://desk.example.com/"}}}, "https://desk.example.com"),
        ({"notifications": {"desk_url": "http://d.example/x/"}}, "http://d.example/x"),
    ],
)
def test_the_desk_is_linked_to_where_a_setting_has_its_address(
    settings: dict[str, object], address: str | None
) -> None:
    assert desk_address(Settings.model_validate(settings)) == address
