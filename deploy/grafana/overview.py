"""The first thing to look at: do events move, what does it cost, is anything wrong."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.panels import lines, number, page, rows, with_panels
from deploy.grafana.promql import (
    NAMESPACE,
    SHOWN,
    growth,
    largest,
    per_second,
    quantiles,
    ratio,
    series,
    waiting,
)

_HAIKU = f'{NAMESPACE}, tier="haiku"'
_COMPLETED = "pipeline_events_completed_total"
_COST = "pipeline_model_cost_usd_total"
_DECISIONS = "pipeline_decisions_total"


def overview() -> Dashboard:
    """All stages together."""
    board = page(
        "Pipeline: overview", "haiku-pipeline-overview", "Whether events move, and what is wrong."
    )
    _now(board)
    _events(board)
    _models(board)
    return board


def _now(board: Dashboard) -> None:
    with_panels(
        board,
        "Now",
        number(
            "Waiting",
            "Events after the committed offsets, all stages.",
            "short",
            waiting(NAMESPACE),
        ),
        number(
            "Oldest",
            "Age of the oldest event that is not finished.",
            "s",
            largest("pipeline_lag_seconds", NAMESPACE),
            warn=900,
        ),
        number(
            "Finished",
            "Events whose result and offset are committed, a second.",
            "ops",
            per_second("pipeline_events_committed_total", NAMESPACE),
        ),
        number(
            "Escalated",
            "Share of the events that Haiku judged and passed on to Sonnet, half an hour.",
            "percentunit",
            ratio(
                per_second(_DECISIONS, f'{_HAIKU}, end="escalated"', over="30m"),
                per_second(_DECISIONS, _HAIKU, over="30m"),
            ),
            warn=0.3,
        ),
        number(
            "Dead letters",
            "Share of the events that no stage could take, half an hour.",
            "percentunit",
            ratio(
                per_second(_COMPLETED, f'{NAMESPACE}, end="dead_letter"', over="30m"),
                per_second(_COMPLETED, NAMESPACE, over="30m"),
            ),
            warn=0.05,
        ),
        number(
            "Cost, 24 h",
            "Price of all calls of the last 24 hours.",
            "currencyUSD",
            growth(_COST, NAMESPACE, over="24h"),
        ),
        number(
            "Cost of 1,000",
            "Both models, for a thousand events of raw topics, over the time that is shown.",
            "currencyUSD",
            "1000 * "
            + ratio(
                per_second(_COST, NAMESPACE, over=SHOWN),
                per_second(_COMPLETED, f'{NAMESPACE}, stage!="escalations"', over=SHOWN),
            ),
        ),
        number(
            "Processes",
            "That tell Prometheus their version.",
            "short",
            f"count({series('pipeline_build_info', NAMESPACE)})",
        ),
    )
    with_panels(
        board,
        "Alerts",
        rows(
            "Firing now",
            "docs/OPERATIONS.md has a section for each of them.",
            'ALERTS{alertname=~"Pipeline.+", alertstate="firing"}',
        ),
    )


def _events(board: Dashboard) -> None:
    with_panels(
        board,
        "Events",
        lines(
            "Waiting, by stage",
            "Events after the committed offsets. Rising for long means too little capacity.",
            "short",
            {"{{stage}}": waiting(NAMESPACE, "stage")},
        ),
        lines(
            "Age of the oldest",
            "How late the readers get the events that wait longest.",
            "s",
            {"{{stage}}": largest("pipeline_lag_seconds", NAMESPACE, "stage")},
            warn=900,
        ),
        lines(
            "In and out",
            "Events taken from Kafka and events committed, a second. After a restart some are "
            "taken twice; each is committed once.",
            "ops",
            {
                "{{stage}} taken": per_second("pipeline_events_received_total", NAMESPACE, "stage"),
                "{{stage}} committed": per_second(
                    "pipeline_events_committed_total", NAMESPACE, "stage"
                ),
            },
        ),
        lines(
            "Receipt to end",
            "How long an event takes once it was taken, 95 % are faster.",
            "s",
            quantiles("pipeline_event_seconds", NAMESPACE, "stage", 0.95),
        ),
        lines(
            "Ends",
            "What became of the events, all stages.",
            "ops",
            {"{{end}}": per_second(_COMPLETED, NAMESPACE, "end")},
            stacked=True,
        ),
        lines(
            "Intake",
            "1 where every process takes events; 0 where one does not, on purpose.",
            "short",
            {"{{stage}}": f"min by (stage) ({series('pipeline_intake_open', NAMESPACE)})"},
        ),
    )


def _models(board: Dashboard) -> None:
    left = ratio(
        series("pipeline_rate_limit_remaining", NAMESPACE),
        series("pipeline_rate_limit", NAMESPACE),
    )
    not_closed = series("pipeline_breaker_state", f'{NAMESPACE}, state=~"open|half_open"')
    with_panels(
        board,
        "Models",
        lines(
            "Calls",
            "Requests to the Messages API by how they ended.",
            "ops",
            {
                "{{model}} {{end}}": per_second(
                    "pipeline_model_calls_total", NAMESPACE, "model", "end"
                )
            },
            stacked=True,
        ),
        lines(
            "Duration of a call",
            "Whatever its end; 95 % are faster.",
            "s",
            quantiles("pipeline_model_call_seconds", NAMESPACE, "model", 0.95),
        ),
        lines(
            "Limits left",
            "Share of the organisation's limits that the API says is left.",
            "percentunit",
            {"{{model}} {{kind}}": f"min by (model, kind) ({left})"},
        ),
        lines(
            "Wait before a call",
            "For limits, breaker, budget or a free slot; 95 % wait less.",
            "s",
            quantiles("pipeline_model_wait_seconds", NAMESPACE, "model", 0.95),
        ),
        lines(
            "Breakers that are not closed",
            "Processes whose breaker of a model is open or half open.",
            "short",
            {"{{model}}": f"sum by (model) ({not_closed})"},
        ),
        lines(
            "Refused until a person acts",
            "1 where the key, a permission or a spend limit stops every call.",
            "short",
            {"{{model}}": largest("pipeline_model_blocked", NAMESPACE, "model")},
        ),
    )
