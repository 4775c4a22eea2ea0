from decimal import Decimal

from prometheus_client import CollectorRegistry

from pipeline.model.observer import Observer
from pipeline.model.records import Tier, Usage
from pipeline.observe import catalogue
from pipeline.observe.catalogue import CATALOGUE
from pipeline.observe.metrics import Asked, Conditions, Metrics
from pipeline.observe.readings import Reading
from pipeline.stream.records import Disposition


def reading(registry: CollectorRegistry) -> Reading:
    return Reading.of(0.0, registry.collect())


def test_it_observes_the_stream_the_gateway_and_the_processors(metrics: Metrics) -> None:
    _stream: Observer = metrics
    _claude: Observer = metrics
    _processor: Observer = metrics


def test_every_metric_of_the_catalogue_is_registered(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    families = {family.name for family in registry.collect()}
    assert families == {metric.name.removesuffix("_total") for metric in CATALOGUE}


def test_an_event_is_counted_from_its_receipt_to_its_commit(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    metrics.received("tickets", "tickets.raw", 3, size=120)
    metrics.in_flight("tickets", "tickets.raw", 3, count=1)
    metrics.lag("tickets", "tickets.raw", 3, records=7, oldest_seconds=1.5)
    metrics.completed("tickets", Disposition.ENRICHED, seconds=0.4)
    metrics.committed("tickets", records=1, seconds=0.003)

    seen = reading(registry)
    partition = {"stage": "tickets", "topic": "tickets.raw", "partition": "3"}
    assert seen.total(catalogue.RECEIVED, stage="tickets") == 1
    assert seen.total(catalogue.RECEIVED_BYTES, stage="tickets") == 120
    assert seen.total(catalogue.IN_FLIGHT, **partition) == 1
    assert seen.total(catalogue.LAG, **partition) == 7
    assert seen.total(catalogue.LAG_SECONDS, **partition) == 1.5
    assert seen.total(catalogue.COMPLETED, stage="tickets", end="enriched") == 1
    assert seen.total(catalogue.COMMITTED, stage="tickets") == 1
    assert seen.by(catalogue.COMMITS, "outcome") == {"committed": 1}


def test_commits_that_failed_are_counted_by_how_they_failed(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    metrics.commit_failed("tickets", outcome="fenced")
    assert reading(registry).by(catalogue.COMMITS, "outcome") == {"fenced": 1}


def test_partitions_that_cannot_commit_are_counted_until_they_can(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    metrics.begin_well(("tickets",), ("m",), ())
    metrics.failing("tickets", partitions=2)
    assert reading(registry).by(catalogue.FAILING, "stage") == {"tickets": 2}
    metrics.failing("tickets", partitions=0)
    metrics.reachable("tickets", are_brokers=False)
    assert reading(registry).by(catalogue.BROKERS_REACHABLE, "stage") == {"tickets": 0}
    assert reading(registry).by(catalogue.FAILING, "stage") == {"tickets": 0}


def test_nothing_is_said_of_a_partition_that_was_revoked(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    for partition in (0, 1):
        metrics.lag("tickets", "tickets.raw", partition, records=5, oldest_seconds=9.0)
        metrics.in_flight("tickets", "tickets.raw", partition, count=2)
    metrics.revoked("tickets", "tickets.raw", 1)
    metrics.revoked("tickets", "tickets.raw", 99)

    seen = reading(registry)
    assert seen.by(catalogue.LAG, "partition") == {"0": 5}
    assert seen.by(catalogue.LAG_SECONDS, "partition") == {"0": 9}
    assert seen.by(catalogue.IN_FLIGHT, "partition") == {"0": 2}


def test_decisions_doubts_and_dead_letters_are_counted_by_the_stage_of_the_event(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    metrics.decided("tickets", Tier.HAIKU, "escalated", model="m")
    metrics.doubted("tickets", "low_confidence")
    metrics.decided("tickets", Tier.SONNET, "enriched", model="m")
    metrics.dead_lettered("invoices", "bad_pdf")

    seen = reading(registry)
    assert seen.total(catalogue.DECISIONS, stage="tickets", tier="haiku", end="escalated") == 1
    assert seen.total(catalogue.DECISIONS, stage="tickets", tier="sonnet", end="enriched") == 1
    assert seen.by(catalogue.DOUBTS, "code") == {"low_confidence": 1}
    assert seen.by(catalogue.DEAD_LETTERS, "reason") == {"bad_pdf": 1}


def test_a_call_is_counted_with_its_tokens_and_its_price(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    usage = Usage(
        calls=1,
        input_tokens=400,
        cache_read_tokens=300,
        cache_write_tokens=20,
        output_tokens=60,
        cost_usd=Decimal("0.00007"),
    )
    metrics.call("tickets", "haiku-x", "answered", seconds=0.6, usage=usage)
    metrics.call("tickets", "haiku-x", "overloaded", seconds=0.1, usage=None)

    seen = reading(registry)
    assert seen.by(catalogue.CALLS, "end") == {"answered": 1, "overloaded": 1}
    assert seen.by(catalogue.TOKENS, "kind") == {
        "input": 400,
        "cache_read": 300,
        "output": 60,
        "cache_write": 20,
    }
    assert seen.total(catalogue.COST) == 0.00007
    assert seen.total(catalogue.UNPRICED) == 0


def test_the_share_of_the_prompt_cache_is_of_all_answers_since_the_start(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    def answered(stage: str, **tokens: int) -> None:
        usage = Usage(calls=1, output_tokens=60, **tokens)
        metrics.call(stage, "m", "answered", seconds=0.6, usage=usage)

    answered("tickets", input_tokens=40, cache_write_tokens=700)
    assert reading(registry).by(catalogue.HIT_RATIO, "stage") == {"tickets": 0}
    answered("tickets", input_tokens=60, cache_read_tokens=700)
    answered("code", input_tokens=100)
    answered("images")
    metrics.call("texts", "m", "timed_out", seconds=9, usage=None)
    ratios = reading(registry).by(catalogue.HIT_RATIO, "stage")
    assert ratios == {"tickets": 700 / 1500, "code": 0, "images": 0}


def test_a_call_without_a_known_price_is_not_free(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    metrics.call("tickets", "new", "answered", seconds=1.0, usage=Usage(calls=1, cost_usd=None))
    seen = reading(registry)
    assert seen.total(catalogue.UNPRICED, model="new") == 1
    assert seen.by(catalogue.COST, "model") == {}


def test_what_may_have_been_billed_is_kept_apart_from_what_was(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    metrics.maybe_billed("tickets", "m", usd=Decimal("0.002"))
    metrics.maybe_billed("tickets", "m", usd=None)
    seen = reading(registry)
    assert seen.total(catalogue.MAYBE_BILLED, model="m") == 0.002
    assert seen.total(catalogue.UNPRICED, model="m") == 1
    assert seen.total(catalogue.COST) == 0


def test_limits_waits_reuse_and_spending_are_published(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    metrics.waited("tickets", "m", seconds=0.2)
    metrics.reused("tickets", "m", "in_flight")
    metrics.limit("m", "requests", limit=1000, remaining=400)
    metrics.spent("tickets", window="day", usd=Decimal("1.25"))

    seen = reading(registry)
    assert seen.by(catalogue.REUSED, "kind") == {"in_flight": 1}
    assert seen.by(catalogue.RATE_LIMIT, "kind") == {"requests": 1000}
    assert seen.by(catalogue.RATE_LIMIT_REMAINING, "kind") == {"requests": 400}
    assert seen.by(catalogue.SPENT, "window") == {"day": 1.25}


def test_a_breaker_is_in_one_state_at_a_time(
    metrics: Metrics, registry: CollectorRegistry, conditions: Conditions
) -> None:
    for state in ("open", "half_open"):
        metrics.breaker("m", state)
    seen = reading(registry)
    assert seen.by(catalogue.BREAKER, "state") == {"half_open": 1, "closed": 0, "open": 0}
    assert conditions.not_answering() is None


def test_states_with_a_reason_are_kept_until_they_pass(
    metrics: Metrics, registry: CollectorRegistry, conditions: Conditions
) -> None:
    assert "tickets" not in conditions.assigned
    metrics.rebalanced("tickets", partitions=0, seconds=0.5)
    metrics.intake("tickets", paused_reason="The budget of the hour is spent.")
    metrics.blocked("m", because="The API key is not accepted.")
    metrics.stuck("tickets", is_stuck=True)

    assert conditions.assigned == {"tickets": 0}
    assert conditions.intake_closed == {"tickets": "The budget of the hour is spent."}
    assert conditions.not_answering() == "m: The API key is not accepted."
    assert conditions.stuck.keys() == {"tickets"}
    assert reading(registry).total(catalogue.INTAKE_OPEN, stage="tickets") == 0

    metrics.intake("tickets", paused_reason=None)
    metrics.blocked("m", because=None)
    metrics.stuck("tickets", is_stuck=False)

    assert conditions.intake_closed == {}
    assert conditions.not_answering() is None
    assert conditions.stuck == {}
    assert reading(registry).total(catalogue.INTAKE_OPEN, stage="tickets") == 1


def test_a_model_whose_breaker_is_open_does_not_answer(
    metrics: Metrics, conditions: Conditions
) -> None:
    metrics.breaker("m", "open")
    assert "m" in (conditions.not_answering() or "")
    metrics.breaker("m", "closed")
    assert conditions.not_answering() is None


def test_a_model_that_no_tier_asks_at_present_may_be_away(
    metrics: Metrics, conditions: Conditions
) -> None:
    metrics.in_use(Tier.HAIKU, "m", "first", in_use=True)
    metrics.in_use(Tier.HAIKU, "aws/m", "fallback", in_use=False)
    metrics.breaker("m", "open")
    assert "m" in (conditions.not_answering() or "")
    metrics.in_use(Tier.HAIKU, "m", "first", in_use=False)
    metrics.in_use(Tier.HAIKU, "aws/m", "fallback", in_use=True)
    assert conditions.not_answering() is None
    metrics.in_use(Tier.SONNET, "m", "first", in_use=True)
    assert conditions.not_answering() is not None


def test_a_question_that_moved_is_counted_with_what_may_be_paid_twice(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    metrics.moved("tickets", "m", maybe_billed=0)
    metrics.moved("tickets", "m", maybe_billed=2)
    seen = reading(registry)
    assert seen.total(catalogue.MOVED, stage="tickets", model="m") == 2
    assert seen.total(catalogue.UNANSWERED, stage="tickets", model="m") == 2


def test_what_rules_ask_for_is_there_at_0_before_anything_happens(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    asked = [Asked("tickets", Tier.HAIKU, "m"), Asked("invoices", Tier.SONNET, "n")]
    metrics.begin_well(("tickets", "escalations"), ("m", "n"), asked)

    def series(name: str) -> list[dict[str, str]]:
        found = reading(registry).series[name]
        assert {value for _, value in found} == {0}
        return [labels for labels, _ in found]

    pairs = [{"stage": "tickets", "model": "m"}, {"stage": "invoices", "model": "n"}]
    assert series("pipeline_model_unpriced_calls_total") == pairs
    assert series("pipeline_model_call_seconds_count") == pairs
    assert series("pipeline_rebalance_seconds_count") == [
        {"stage": "tickets"},
        {"stage": "escalations"},
    ]
    assert {(each["stage"], each["tier"]) for each in series("pipeline_decisions_total")} == {
        ("tickets", "haiku"),
        ("invoices", "sonnet"),
    }
    ends = {each["end"] for each in series("pipeline_model_calls_total")}
    assert ends == {*catalogue.CALL_ENDS}
    for metric in CATALOGUE:
        sample = f"{metric.name}_count" if metric.kind == "histogram" else metric.name
        if metric.kind != "gauge":
            assert (sample in reading(registry).series) == metric.from_zero


def test_names_from_outside_cannot_grow_the_series_without_end(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    beyond = catalogue.DOUBTS.series_limit + 50
    for number in range(beyond):
        metrics.doubted("tickets", f"code-{number}")

    by_code = reading(registry).by(catalogue.DOUBTS, "code")
    assert len(by_code) == catalogue.DOUBTS.series_limit + 1
    assert by_code["other"] == 50
    assert sum(by_code.values()) == beyond


def test_what_runs_is_stated_once(metrics: Metrics, registry: CollectorRegistry) -> None:
    metrics.started(version="1.2.3", delivery="exactly_once", budgets={("all", "day"): Decimal(20)})
    seen = reading(registry)
    assert seen.total(catalogue.BUILD, version="1.2.3", delivery="exactly_once") == 1
    assert seen.total(catalogue.BUDGET, stage="all", window="day") == 20
