"""A backlog in message batches: how far it is, what it costs, how much came at half the price."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.panels import lines, number, page, with_panels, with_stages
from deploy.grafana.promql import STAGE, largest, ratio, series, total

_EVENTS = "pipeline_backfill_events"
_BATCHES = "pipeline_backfill_batches_under_way"
_COST = "pipeline_backfill_cost_usd"
_PUBLISHED = f'{STAGE}, state="published"'
_BATCH = f'{STAGE}, lane="batch"'


def backfill() -> Dashboard:
    """The backfills that run. Their figures end with their processes."""
    board = with_stages(
        page(
            "Pipeline: backfill",
            "haiku-pipeline-backfill",
            "What `pipeline backfill --http` tells of itself. It is empty while none runs.",
        ),
        told_by=_EVENTS,
    )
    _now(board)
    _progress(board)
    return board


def _now(board: Dashboard) -> None:
    with_panels(
        board,
        "Now",
        number(
            "Waiting",
            "Events that are not claimed: a consumer could still take them.",
            "short",
            total(_EVENTS, f'{STAGE}, state="waiting"'),
        ),
        number(
            "Under way",
            "Events in batches that are claimed and not published.",
            "short",
            total(_EVENTS, f'{STAGE}, state="under_way"'),
        ),
        number(
            "Published",
            "Events whose results are published.",
            "short",
            total(_EVENTS, _PUBLISHED),
        ),
        number(
            "Done",
            "Share of the backlog that is published.",
            "percentunit",
            ratio(total(_EVENTS, _PUBLISHED), total(_EVENTS, STAGE)),
        ),
        number(
            "Batches",
            "Claimed and not published.",
            "short",
            total(_BATCHES, STAGE),
        ),
        number(
            "Cost",
            "Of the backfill so far, answers of both lanes.",
            "currencyUSD",
            total(_COST, STAGE),
        ),
        number(
            "At half the price",
            "Share of the cost that batches came to.",
            "percentunit",
            ratio(total(_COST, _BATCH), total(_COST, STAGE)),
        ),
        number(
            "Cost of 1,000",
            "Of the events that are published.",
            "currencyUSD",
            "1000 * " + ratio(total(_COST, STAGE), total(_EVENTS, _PUBLISHED)),
        ),
    )


def _progress(board: Dashboard) -> None:
    with_panels(
        board,
        "Progress",
        lines(
            "Events by state",
            "From waiting by way of under way to published. Batches take up to a day.",
            "short",
            {"{{stage}} {{state}}": total(_EVENTS, STAGE, "stage", "state")},
            stacked=True,
        ),
        lines(
            "Published an hour",
            "At the pace of the last quarter of an hour; batches end in waves.",
            "short",
            {"{{stage}}": f"3600 * sum by (stage) (deriv({series(_EVENTS, _PUBLISHED)}[15m]))"},
        ),
        lines(
            "Batches under way",
            "At most `backfill.batches_at_once` of a stage.",
            "short",
            {"{{stage}}": largest(_BATCHES, STAGE, "stage")},
        ),
        lines(
            "Cost by lane",
            "Batch answers at half the price, normal ones at the full.",
            "currencyUSD",
            {"{{stage}} {{lane}}": total(_COST, STAGE, "stage", "lane")},
            stacked=True,
        ),
    )
