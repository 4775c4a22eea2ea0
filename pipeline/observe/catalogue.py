"""Every metric: name, kind, labels, unit, meaning.

Label values are names from the settings, the contract's enums, or come from outside (a model's
name as the API states it, a stage's own doubt codes). The latter are why each metric has a limit
on its series: what comes after it is counted under `other`, so that nobody can fill the memory
of this process or of Prometheus from outside.

A series that appears with its first number has not risen, as Prometheus sees it: the burst that
began it is in no `increase()`. So what a rule asks for starts at 0, with those values of its labels
that are known beforehand.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pipeline.model.records import DeadLetterReason

Kind = Literal["counter", "gauge", "histogram"]
CALL_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 20, 30, 60)
COMMIT_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
WAIT_BUCKETS = (0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300)
REBALANCE_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 30, 60)


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """A metric family; its help text is its `meaning`, `unit` is what 1 is.

    Label combinations beyond `series_limit` are counted as `other`. `values` are all values of
    those labels that have no others. The series of one `from_zero` are there from the start, at 0:
    for each of `values`, and for the stages, tiers and models of the process.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    unit: str
    meaning: str
    buckets: tuple[float, ...] = ()
    series_limit: int = 500
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    from_zero: bool = False


PARTITION = ("stage", "topic", "partition")
PARTITIONS_LIMIT = 10_000
ENDS = ("enriched", "escalated", "review", "dead_letter")
CALL_ENDS = (
    "answered", "refused", "cut_off", "malformed", "rejected", "rate_limited", "overloaded",
    "server_error", "timed_out", "disconnected", "blocked",
)  # fmt: skip
LIMITS = ("requests", "input_tokens", "output_tokens")
WINDOWS = ("hour", "day")

# Events, as the consumers see them. `stage` is the consuming one, `escalations` among them.

RECEIVED = Metric(
    "pipeline_events_received_total", "counter", ("stage",), "events",
    "Events taken from Kafka, repetitions after a restart or rebalance included.",
)  # fmt: skip
RECEIVED_BYTES = Metric(
    "pipeline_events_received_bytes_total", "counter", ("stage",), "bytes",
    "What the events taken from Kafka take in memory: keys, values and headers.",
)  # fmt: skip
TOMBSTONES = Metric(
    "pipeline_tombstones_total", "counter", ("stage",), "records",
    "Records without a value (null, not empty): no events, only committed over, or "
    "passed on under their key where `output.tombstones` says so.",
)  # fmt: skip
PASSED_OVER = Metric(
    "pipeline_events_passed_over_total", "counter", ("stage",), "records",
    "Records that `where` leaves out, or that an envelope says are deletions: no events of the "
    "stage, only committed over.",
    from_zero=True,
)  # fmt: skip
COMPLETED = Metric(
    "pipeline_events_completed_total", "counter", ("stage", "end"), "events",
    "Events that came to an end: enriched, escalated, review or dead_letter.",
    values={"end": ENDS}, from_zero=True,
)  # fmt: skip
EVENT_SECONDS = Metric(
    "pipeline_event_seconds", "histogram", ("stage", "end"), "seconds",
    "From an event's receipt to its end, the commit not included.",
    buckets=CALL_BUCKETS, values={"end": ENDS},
)  # fmt: skip
IN_FLIGHT = Metric(
    "pipeline_in_flight_events", "gauge", PARTITION, "events",
    "Events taken and not yet committed.",
    series_limit=PARTITIONS_LIMIT,
)  # fmt: skip
LAG = Metric(
    "pipeline_lag_events", "gauge", PARTITION, "events",
    "Events that are not processed: after the committed offset, less what is done above it.",
    series_limit=PARTITIONS_LIMIT,
)  # fmt: skip
LAG_SECONDS = Metric(
    "pipeline_lag_seconds", "gauge", PARTITION, "seconds",
    "Age of the oldest unprocessed event.",
    series_limit=PARTITIONS_LIMIT,
)  # fmt: skip
COMMITS = Metric(
    "pipeline_commits_total", "counter", ("stage", "outcome"), "commits",
    "Transactions, or publish-and-commit rounds: committed, aborted, fenced or dead.",
    values={"outcome": ("committed", "aborted", "fenced", "dead")}, from_zero=True,
)  # fmt: skip
FAILING = Metric(
    "pipeline_failing_partitions", "gauge", ("stage",), "partitions",
    "Partitions of this process whose results cannot be committed at present, whyever; /readyz "
    "gives the reason.",
)  # fmt: skip
BROKERS_REACHABLE = Metric(
    "pipeline_brokers_reachable", "gauge", ("stage",), "0 or 1",
    "0 while the brokers do not answer this process, or refuse to; /readyz gives the reason.",
)  # fmt: skip
OFFSET_FAULTS = Metric(
    "pipeline_offset_faults_total", "counter", ("stage", "fault"), "partitions",
    "Starts of a partition whose committed offset is not, or not wholly, of its log: a ledger of "
    "another offset (what is done above the offset is done again), a log that ends too early (all "
    "it holds is done again), records that expired before they were done (they are lost).",
    values={"fault": ("ledger_moved", "log_shorter", "records_expired")}, from_zero=True,
)  # fmt: skip
COMMITTED = Metric(
    "pipeline_events_committed_total", "counter", ("stage",), "events",
    "Events whose outcome and offset are committed.",
    from_zero=True,
)  # fmt: skip
COMMIT_SECONDS = Metric(
    "pipeline_commit_seconds", "histogram", ("stage",), "seconds",
    "Duration of a successful commit.",
    buckets=COMMIT_BUCKETS,
)  # fmt: skip
PARTITIONS = Metric(
    "pipeline_assigned_partitions", "gauge", ("stage",), "partitions",
    "Partitions assigned to this process.",
)  # fmt: skip
REBALANCE_SECONDS = Metric(
    "pipeline_rebalance_seconds", "histogram", ("stage",), "seconds",
    "Time until a consumer was assigned, from the moment it learned of a rebalance.",
    buckets=REBALANCE_BUCKETS, from_zero=True,
)  # fmt: skip
INTAKE_OPEN = Metric(
    "pipeline_intake_open", "gauge", ("stage",), "0 or 1",
    "0 while no new events are taken; /api/status gives the reason.",
)  # fmt: skip
HELD = Metric(
    "pipeline_intake_held", "gauge", ("stage",), "0 or 1",
    "1 while events wait for their turn although nothing is wrong: more than the set share is "
    "escalated; /api/status gives the reason.",
)  # fmt: skip
TENANTS_WAITING = Metric(
    "pipeline_tenants_waiting", "gauge", ("stage",), "tenants",
    "Tenants of whom events wait in this process's partitions, because their budget is used up.",
)  # fmt: skip
STUCK = Metric(
    "pipeline_stuck", "gauge", ("stage",), "0 or 1",
    "1 while the consumer lives but makes no progress.",
)  # fmt: skip
MEMBERS_DIFFER = Metric(
    "pipeline_members_differ", "gauge", ("stage",), "0 or 1",
    "1 while members of the consumer group ask the models different things, as in a rollout, or "
    "where two deployments share a group by mistake.",
)  # fmt: skip
SETTINGS_REFUSED = Metric(
    "pipeline_settings_refused", "gauge", ("stage",), "0 or 1",
    "1 while the files of settings hold others than this process works by: they are wrong, or part "
    "of them is taken up when it starts again; the log says which.",
)  # fmt: skip

# Decisions. `stage` is the event's own, whichever consumer decided.

DECISIONS = Metric(
    "pipeline_decisions_total", "counter", ("stage", "tier", "end"), "events",
    "Events by who judged them, a tier or `document` (their own data), and the end they came to; "
    "of an event that holds several documents each part.",
    values={"end": ENDS}, from_zero=True,
)  # fmt: skip
DOUBTS = Metric(
    "pipeline_doubts_total", "counter", ("stage", "code"), "doubts",
    "Reasons why answers were not accepted; one answer may have several.",
)  # fmt: skip
AUDITED = Metric(
    "pipeline_audited_total", "counter", ("stage", "verdict"), "events",
    "Answers of Haiku that would have been accepted and went to Sonnet as a random sample: agreed "
    "(models err alike, so it is no measure of errors), differed, unsettled, or not_compared where "
    "the stage does not say which fields decide.",
    values={"verdict": ("agreed", "differed", "unsettled", "not_compared")},
)  # fmt: skip
DEAD_LETTERS = Metric(
    "pipeline_dead_letters_total", "counter", ("stage", "reason"), "events",
    "Dead letters by reason.",
    values={"reason": tuple(DeadLetterReason)},
)  # fmt: skip

# Models.

CALLS = Metric(
    "pipeline_model_calls_total", "counter", ("stage", "model", "end"), "calls",
    "Requests to the Messages API by how they ended.",
    series_limit=1000, values={"end": CALL_ENDS}, from_zero=True,
)  # fmt: skip
CALL_SECONDS = Metric(
    "pipeline_model_call_seconds", "histogram", ("stage", "model"), "seconds",
    "Duration of a request, whatever its end.",
    buckets=CALL_BUCKETS, series_limit=100, from_zero=True,
)  # fmt: skip
TOKENS = Metric(
    "pipeline_model_tokens_total", "counter", ("stage", "model", "kind"), "tokens",
    "Tokens the API counted: input, cache_read, cache_write, output.",
    values={"kind": ("input", "cache_read", "cache_write", "output")}, from_zero=True,
)  # fmt: skip
HIT_RATIO = Metric(
    "pipeline_prompt_cache_hit_ratio", "gauge", ("stage", "model"), "0 to 1",
    "Share of the prompt's tokens that was read from the prompt cache, of all answers since the "
    "start: cache_read over input, cache_read and cache_write.",
)  # fmt: skip
COST = Metric(
    "pipeline_model_cost_usd_total", "counter", ("stage", "model"), "US dollars",
    "Price of all calls, from the price table; calls without a known price are not in it.",
    from_zero=True,
)  # fmt: skip
UNPRICED = Metric(
    "pipeline_model_unpriced_calls_total", "counter", ("stage", "model"), "calls",
    "Calls whose model is not in the price table: their cost is unknown, not 0.",
    from_zero=True,
)  # fmt: skip
MAYBE_BILLED = Metric(
    "pipeline_model_maybe_billed_usd_total", "counter", ("stage", "model"), "US dollars",
    "Estimated price of calls that ended without an answer and may have been paid all the same.",
)  # fmt: skip
REUSED = Metric(
    "pipeline_answers_reused_total", "counter", ("stage", "model", "kind"), "answers",
    "Answers not paid again: taken from an identical question in flight, in memory or on disk.",
    values={"kind": ("in_flight", "memory", "disk")},
)  # fmt: skip
WAIT_SECONDS = Metric(
    "pipeline_model_wait_seconds", "histogram", ("stage", "model"), "seconds",
    "Time a question waited for limits, breaker, budget or a free slot before it was sent.",
    buckets=WAIT_BUCKETS, series_limit=100,
)  # fmt: skip
RATE_LIMIT = Metric(
    "pipeline_rate_limit", "gauge", ("model", "kind"), "per minute",
    "A model's limit: requests, input_tokens, output_tokens.",
    values={"kind": LIMITS},
)  # fmt: skip
RATE_LIMIT_REMAINING = Metric(
    "pipeline_rate_limit_remaining", "gauge", ("model", "kind"), "per minute",
    "What is left of that limit.",
    values={"kind": LIMITS},
)  # fmt: skip
BREAKER = Metric(
    "pipeline_breaker_state", "gauge", ("model", "state"), "0 or 1",
    "1 for the state a model's breaker is in: closed, half_open, open.",
    values={"state": ("closed", "half_open", "open")},
)  # fmt: skip
BLOCKED = Metric(
    "pipeline_model_blocked", "gauge", ("model",), "0 or 1",
    "1 while no call can succeed until a person fixes something: key, permission, spend limit.",
)  # fmt: skip
IN_USE = Metric(
    "pipeline_endpoint_in_use", "gauge", ("tier", "model", "place"), "0 or 1",
    "1 while a tier asks that endpoint: its first, or its fallback.",
    values={"place": ("first", "fallback")},
)  # fmt: skip
MOVED = Metric(
    "pipeline_questions_moved_total", "counter", ("stage", "model"), "questions",
    "Questions that left an endpoint, which was out, for the other one of their tier.",
)  # fmt: skip
UNANSWERED = Metric(
    "pipeline_moved_calls_unanswered_total", "counter", ("stage", "model"), "calls",
    "Calls of these that ended without an answer and may have been paid all the same, so that "
    "the question is paid twice.",
)  # fmt: skip
SPENT = Metric(
    "pipeline_spent_usd", "gauge", ("stage", "window"), "US dollars",
    "Spent by all processes in the running hour or day, as the budgets count it.",
    values={"window": WINDOWS},
)  # fmt: skip
BUDGET = Metric(
    "pipeline_budget_usd", "gauge", ("stage", "window"), "US dollars",
    "The budget of a stage for an hour or a day; stage `all` for all stages together.",
    values={"window": WINDOWS},
)  # fmt: skip

# Certificates. `stage` is the event's own. A process has these of the stages whose events it
# decides about, where the settings name a certificate.

CERTIFICATE = Metric(
    "pipeline_certificate", "gauge", ("stage", "state"), "0 or 1",
    "1 for what a certificate says of a stage as it runs: certified, stale, none.",
    values={"state": ("certified", "stale", "none")},
)  # fmt: skip
CERTIFIED = Metric(
    "pipeline_certified_answers_total", "counter", ("stage", "tier", "state"), "answers",
    "Published answers by what their record says of the certificate: certified, stale, none.",
    values={"state": ("certified", "stale", "none")}, from_zero=True,
)  # fmt: skip
CERTIFIED_SHARE = Metric(
    "pipeline_certified_sonnet_share", "gauge", ("stage", "bound"), "0 to 1",
    "Share of the published answers that Sonnet decided in the certified window: lower and upper "
    "bound, each at 99.5 %.",
    values={"bound": ("lower", "upper")},
)  # fmt: skip
ALARM = Metric(
    "pipeline_certificate_alarm", "gauge", ("stage",), "0 or 1",
    "1 while labels have shown that what was certified no longer holds, and nobody has "
    "acknowledged that: thresholds have fallen back.",
)  # fmt: skip
ALARM_LEVEL = Metric(
    "pipeline_certificate_alarm_level", "gauge", ("stage", "scope"), "1 is an alarm",
    "How far labels of a scope (haiku, sonnet, stream) are on the way to an alarm.",
    values={"scope": ("haiku", "sonnet", "stream")},
)  # fmt: skip
ERROR_BOUND = Metric(
    "pipeline_error_share_upper_bound", "gauge", ("stage", "scope", "chosen"), "0 to 1",
    "Upper bound, at 95 % at all times, of the share of wrong answers by labels of people since "
    "the certificate or the last alarm; `chosen` is the label of the answers, or `all`; 1 before "
    "it is known.",
)  # fmt: skip
LABELS = Metric(
    "pipeline_labels_counted", "gauge", ("stage", "scope", "chosen"), "labels",
    "Labels that this bound rests on.",
)  # fmt: skip
DISTANCE = Metric(
    "pipeline_certificate_distance", "gauge", ("stage", "compared"), "1 is the limit",
    "How far the last 400 drawn answers are from those that were certified, as a share of what "
    "one look in a hundred exceeds without a change: by a signal's code, `labels`, `by_sonnet`.",
)  # fmt: skip

# Backfills, as the process of `pipeline backfill` counts them.

BACKFILL_EVENTS = Metric(
    "pipeline_backfill_events", "gauge", ("stage", "state"), "events",
    "Events of the backfill that runs: waiting to be claimed, under_way in a batch, published.",
    values={"state": ("waiting", "under_way", "published")},
)  # fmt: skip
BACKFILL_BATCHES = Metric(
    "pipeline_backfill_batches_under_way", "gauge", ("stage",), "batches",
    "Batches that are claimed and not published.",
)  # fmt: skip
BACKFILL_COST = Metric(
    "pipeline_backfill_cost_usd", "gauge", ("stage", "lane"), "US dollars",
    "Cost of the backfill so far: batch answers at half the price, normal ones at the full.",
    values={"lane": ("batch", "normal")},
)  # fmt: skip
BUILD = Metric(
    "pipeline_build_info", "gauge", ("version", "python", "delivery"), "always 1",
    "The version that runs, and the delivery guarantee in force.",
    values={"delivery": ("exactly_once", "at_least_once")},
)  # fmt: skip
CATALOGUE: tuple[Metric, ...] = tuple(
    metric for metric in list(globals().values()) if isinstance(metric, Metric)
)
"""All of them, in the order above."""
