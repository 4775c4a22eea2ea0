"""One stage, or some of them: what comes in, what is doubted, what becomes of it."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.panels import bars, lines, page, with_panels, with_stages
from deploy.grafana.promql import STAGE, growth, per_second, quantiles, ratio, waiting

_HAIKU = f'{STAGE}, tier="haiku"'
_COMPLETED = "pipeline_events_completed_total"
_DECISIONS = "pipeline_decisions_total"


def stage() -> Dashboard:
    """The stages that are chosen."""
    board = with_stages(
        page(
            "Pipeline: stage",
            "haiku-pipeline-stage",
            "What comes into a stage, how it is answered, and what is doubted.",
        )
    )
    _events(board)
    _decisions(board)
    _models(board)
    return board


def _events(board: Dashboard) -> None:
    with_panels(
        board,
        "Events",
        lines(
            "Waiting",
            "Events after the committed offsets.",
            "short",
            {"{{stage}}": waiting(STAGE, "stage")},
        ),
        lines(
            "Taken, ended, committed",
            "Events a second.",
            "ops",
            {
                "{{stage}} taken": per_second("pipeline_events_received_total", STAGE, "stage"),
                "{{stage}} ended": per_second(_COMPLETED, STAGE, "stage"),
                "{{stage}} committed": per_second(
                    "pipeline_events_committed_total", STAGE, "stage"
                ),
            },
        ),
        lines(
            "Ends",
            "What became of the events.",
            "ops",
            {"{{stage}} {{end}}": per_second(_COMPLETED, STAGE, "stage", "end")},
            stacked=True,
        ),
        lines(
            "Receipt to end",
            "Half of the events are faster than the first, 95 % than the second, 99 % than the "
            "third curve.",
            "s",
            quantiles("pipeline_event_seconds", STAGE, "stage", 0.5, 0.95, 0.99),
        ),
    )


def _decisions(board: Dashboard) -> None:
    with_panels(
        board,
        "Decisions",
        lines(
            "Who decided",
            "Events by the tier that judged them and the end they came to.",
            "ops",
            {"{{tier}} {{end}}": per_second(_DECISIONS, STAGE, "tier", "end")},
            stacked=True,
        ),
        lines(
            "Escalated share",
            "Of the events that Haiku judged.",
            "percentunit",
            {
                "{{stage}}": ratio(
                    per_second(_DECISIONS, f'{_HAIKU}, end="escalated"', "stage", over="30m"),
                    per_second(_DECISIONS, _HAIKU, "stage", over="30m"),
                )
            },
            warn=0.3,
        ),
        bars(
            "Doubts",
            "Why answers were not accepted, over the time that is shown. One answer may have "
            "several.",
            "short",
            {
                "{{stage}} {{code}}": "sort_desc("
                + growth("pipeline_doubts_total", STAGE, "stage", "code")
                + ")"
            },
        ),
        bars(
            "Random sample",
            "What Sonnet said to answers that nothing but chance sent on, over the time that is "
            "shown: the share that differs is how often trusted answers are wrong, about.",
            "short",
            {
                "{{stage}} {{verdict}}": "sort_desc("
                + growth("pipeline_audited_total", STAGE, "stage", "verdict")
                + ")"
            },
        ),
        bars(
            "Dead letters",
            "Why events could not be taken, over the time that is shown.",
            "short",
            {
                "{{stage}} {{reason}}": "sort_desc("
                + growth("pipeline_dead_letters_total", STAGE, "stage", "reason")
                + ")"
            },
        ),
    )


def _models(board: Dashboard) -> None:
    with_panels(
        board,
        "Models",
        lines(
            "Calls",
            "By how they ended.",
            "ops",
            {"{{model}} {{end}}": per_second("pipeline_model_calls_total", STAGE, "model", "end")},
            stacked=True,
        ),
        lines(
            "Duration of a call",
            "Half are faster than the first, 95 % than the second curve.",
            "s",
            quantiles("pipeline_model_call_seconds", STAGE, "model", 0.5, 0.95),
        ),
        lines(
            "Tokens of an event",
            "By kind, for each event that ended.",
            "short",
            {
                "{{kind}}": per_second("pipeline_model_tokens_total", STAGE, "kind")
                + f" / on () group_left () ({per_second(_COMPLETED, STAGE)} > 0)"
            },
        ),
        lines(
            "Wait before a call",
            "For limits, breaker, budget or a free slot; 95 % wait less.",
            "s",
            quantiles("pipeline_model_wait_seconds", STAGE, "model", 0.95),
        ),
    )
