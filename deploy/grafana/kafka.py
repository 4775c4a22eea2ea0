"""Partitions, commits and rebalances, as the consumers see them."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.panels import lines, page, with_panels, with_stages
from deploy.grafana.promql import (
    STAGE,
    growth,
    largest,
    per_second,
    quantiles,
    ratio,
    total,
    waiting,
)

_COMMITTED = "pipeline_events_committed_total"
_COMMITS = "pipeline_commits_total"
_REBALANCES = "pipeline_rebalance_seconds_count"
_PARTITION = "{{topic}} {{partition}}"


def kafka() -> Dashboard:
    """The consumer groups of the stages that are chosen."""
    board = with_stages(
        page(
            "Pipeline: Kafka",
            "haiku-pipeline-kafka",
            "Partitions, commits and rebalances of the consumer groups.",
        )
    )
    _partitions(board)
    _commits(board)
    _rebalances(board)
    return board


def _partitions(board: Dashboard) -> None:
    with_panels(
        board,
        "Partitions",
        lines(
            "Waiting, by partition",
            "One that stands out has a key with too many events, or an owner in trouble.",
            "short",
            {_PARTITION: largest("pipeline_lag_events", STAGE, "topic", "partition")},
        ),
        lines(
            "Age of the oldest, by partition",
            "Of the events that are not finished.",
            "s",
            {_PARTITION: largest("pipeline_lag_seconds", STAGE, "topic", "partition")},
        ),
        lines(
            "In flight, by partition",
            "Events taken and not committed; at most `stream.max_unfinished`.",
            "short",
            {_PARTITION: largest("pipeline_in_flight_events", STAGE, "topic", "partition")},
        ),
        lines(
            "Assigned",
            "Partitions of each process. The sum of a stage is its topic's partition count.",
            "short",
            {
                "{{stage}} {{instance}}": largest(
                    "pipeline_assigned_partitions", STAGE, "stage", "instance", "worker"
                )
            },
            stacked=True,
        ),
        lines(
            "Time to drain",
            "What waits, at the pace of the last 5 minutes, if nothing more came.",
            "s",
            {
                "{{stage}}": ratio(
                    waiting(STAGE, "stage"), per_second(_COMMITTED, STAGE, "stage", over="5m")
                )
            },
        ),
        lines(
            "Bytes in",
            "Keys and values of the events taken from Kafka, a second.",
            "Bps",
            {"{{stage}}": per_second("pipeline_events_received_bytes_total", STAGE, "stage")},
        ),
    )


def _commits(board: Dashboard) -> None:
    with_panels(
        board,
        "Commits",
        lines(
            "Commits",
            "Transactions, or rounds of publish and commit. Some are fenced in a rebalance.",
            "ops",
            {"{{stage}} {{outcome}}": per_second(_COMMITS, STAGE, "stage", "outcome")},
        ),
        lines(
            "Partitions that cannot commit",
            "0 while all is well; /readyz gives the reason.",
            "short",
            {"{{stage}}": total("pipeline_failing_partitions", STAGE, "stage")},
        ),
        lines(
            "Duration of a commit",
            "Half are faster than the first, 95 % than the second curve.",
            "s",
            quantiles("pipeline_commit_seconds", STAGE, "stage", 0.5, 0.95),
        ),
        lines(
            "Events of a commit",
            "On average: the more, the cheaper.",
            "short",
            {
                "{{stage}}": ratio(
                    per_second(_COMMITTED, STAGE, "stage"),
                    per_second(_COMMITS, f'{STAGE}, outcome="committed"', "stage"),
                )
            },
        ),
    )


def _rebalances(board: Dashboard) -> None:
    with_panels(
        board,
        "Rebalances",
        lines(
            "Rebalances",
            "In the last 15 minutes, of all processes together.",
            "short",
            {"{{stage}}": growth(_REBALANCES, STAGE, "stage", over="15m")},
        ),
        lines(
            "Standstill of a rebalance",
            "On average, the last 15 minutes.",
            "s",
            {
                "{{stage}}": ratio(
                    growth("pipeline_rebalance_seconds_sum", STAGE, "stage", over="15m"),
                    growth(_REBALANCES, STAGE, "stage", over="15m"),
                )
            },
        ),
        lines(
            "Stuck",
            "1 while a consumer lives but makes no progress.",
            "short",
            {"{{stage}}": largest("pipeline_stuck", STAGE, "stage")},
        ),
    )
