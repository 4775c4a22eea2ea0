"""What it costs, what was spared, and how far the budgets reach."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.panels import bars, lines, number, page, with_panels, with_stages
from deploy.grafana.promql import NAMESPACE, SHOWN, STAGE, growth, per_second, ratio, series

_COMPLETED = "pipeline_events_completed_total"
_COST = "pipeline_model_cost_usd_total"
_REUSED = "pipeline_answers_reused_total"
_TOKENS = "pipeline_model_tokens_total"
_SPENT = series("pipeline_spent_usd", NAMESPACE)
_BUDGET_USED = ratio(
    # The budget of all stages is compared with their sum.
    f'({_SPENT} or label_replace(sum without (stage) ({_SPENT}), "stage", "all", "", ""))',
    series("pipeline_budget_usd", NAMESPACE),
)


def cost() -> Dashboard:
    """US dollars from the price table, as far as prices are known."""
    board = with_stages(
        page(
            "Pipeline: cost",
            "haiku-pipeline-cost",
            "US dollars, from the price table. Answers of the simulated API cost nothing in truth.",
        )
    )
    _now(board)
    _spend(board)
    _tokens(board)
    return board


def _now(board: Dashboard) -> None:
    reused = per_second(_REUSED, STAGE, over=SHOWN)
    paid = per_second("pipeline_model_calls_total", f'{STAGE}, end="answered"', over=SHOWN)
    with_panels(
        board,
        "Now",
        number(
            "Last hour",
            "Price of all calls of the last hour.",
            "currencyUSD",
            growth(_COST, STAGE, over="1h"),
        ),
        number(
            "Last 24 hours",
            "Price of all calls of the last 24 hours.",
            "currencyUSD",
            growth(_COST, STAGE, over="24h"),
        ),
        number(
            "30 days at this rate",
            "The last hour, 720 times.",
            "currencyUSD",
            "720 * " + growth(_COST, STAGE, over="1h"),
        ),
        number(
            "Cost of 1,000",
            "Both models, for a thousand events of raw topics, over the time that is shown.",
            "currencyUSD",
            "1000 * "
            + ratio(
                per_second(_COST, STAGE, over=SHOWN),
                per_second(_COMPLETED, f'{STAGE}, stage!="escalations"', over=SHOWN),
            ),
        ),
        number(
            "Prompt cache",
            "Share of the input tokens that was read from it, over the time that is shown.",
            "percentunit",
            ratio(
                per_second(_TOKENS, f'{STAGE}, kind="cache_read"', over=SHOWN),
                per_second(_TOKENS, f'{STAGE}, kind=~"input|cache_read|cache_write"', over=SHOWN),
            ),
        ),
        number(
            "Not paid again",
            "Share of the questions that were answered from an identical one.",
            "percentunit",
            ratio(reused, f"({reused} + {paid})"),
        ),
        number(
            "Without a price",
            "Calls to a model that is not in the price table: in no figure here, in no budget.",
            "short",
            growth("pipeline_model_unpriced_calls_total", STAGE, over="24h"),
            warn=1,
        ),
        number(
            "Fullest budget",
            "Share of it that is spent.",
            "percentunit",
            f"max({_BUDGET_USED})",
            warn=0.8,
        ),
    )


def _spend(board: Dashboard) -> None:
    with_panels(
        board,
        "Spend",
        lines(
            "By stage",
            "US dollars an hour at the rate of that moment.",
            "currencyUSD",
            {"{{stage}}": "3600 * " + per_second(_COST, STAGE, "stage")},
            stacked=True,
        ),
        lines(
            "By model",
            "US dollars an hour at the rate of that moment. `maybe` is the estimate of calls that "
            "ended without an answer and may have been billed; it is in no other figure.",
            "currencyUSD",
            {
                "{{model}}": "3600 * " + per_second(_COST, STAGE, "model"),
                "{{model}} maybe": "3600 * "
                + per_second("pipeline_model_maybe_billed_usd_total", STAGE, "model"),
            },
            stacked=True,
        ),
        lines(
            "Cost of 1,000 by stage",
            "Both models, for a thousand of a stage's events; an hour at a time.",
            "currencyUSD",
            {
                "{{stage}}": "1000 * "
                + ratio(
                    per_second(_COST, STAGE, "stage", over="1h"),
                    per_second(_COMPLETED, STAGE, "stage", over="1h"),
                )
            },
        ),
        bars(
            "Budgets",
            "Share of each process's budget that is spent in the running hour or day.",
            "percentunit",
            {"{{stage}} {{window}}": f"max by (stage, window) ({_BUDGET_USED})"},
        ),
    )


def _tokens(board: Dashboard) -> None:
    by = ("stage", "model")
    with_panels(
        board,
        "Tokens",
        lines(
            "By kind",
            "Tokens a second, as the API counted them.",
            "short",
            {"{{model}} {{kind}}": per_second(_TOKENS, STAGE, "model", "kind")},
            stacked=True,
        ),
        lines(
            "Prompt cache by stage",
            "Share of a prompt's tokens that was read from it. Near 0 the static part is too short "
            "(the log says so at the start), or calls are too rare to find it still there.",
            "percentunit",
            {
                "{{stage}} {{model}}": ratio(
                    per_second(_TOKENS, f'{STAGE}, kind="cache_read"', *by),
                    per_second(_TOKENS, f'{STAGE}, kind=~"input|cache_read|cache_write"', *by),
                )
            },
        ),
        lines(
            "Answers not paid again",
            "Taken from an identical question in flight, in memory or on disk, a second.",
            "ops",
            {"{{kind}}": per_second(_REUSED, STAGE, "kind")},
            stacked=True,
        ),
    )
