"""What operators see of a backfill: metrics, and where they are served."""

from contextlib import AsyncExitStack

from pipeline.backfill.progress import Report, Watcher
from pipeline.observe.http import serve
from pipeline.observe.instruments import instruments
from pipeline.observe.metrics import Metrics
from pipeline.settings import Settings


class Telling:
    """A `Watcher` that keeps the metrics, and passes everything on.

    Args:
        metrics: Of this process.
        watcher: Told, too.
    """

    def __init__(self, metrics: Metrics, watcher: Watcher) -> None:
        self._metrics = metrics
        self._watcher = watcher

    def changed(self, report: Report) -> None:
        """Keep the metrics."""
        events = {
            "waiting": report.events - report.claimed,
            "under_way": report.claimed - report.published - report.gone,
            "published": report.published,
        }
        self._metrics.backfilled(report.stage, events=events, batches=report.under_way)
        for lane, usd in (("batch", report.batch_usd), ("normal", report.normal_usd)):
            if usd is not None:
                self._metrics.backfill_cost(report.stage, lane=lane, usd=usd)
        self._watcher.changed(report)

    def happened(self, sentence: str) -> None:
        """Pass it on."""
        self._watcher.happened(sentence)


async def open_metrics(
    stack: AsyncExitStack, settings: Settings, stage: str, watcher: Watcher, *, http: bool
) -> Metrics:
    """The metrics of this process, served on the one port if `http`.

    Raises:
        PipelineError: The port is taken.
    """
    observed = instruments(settings, [stage], delivery="exactly_once")
    if http:
        observed.health.add_readiness("models", observed.conditions.not_answering)
        address = await stack.enter_async_context(serve(settings.http, observed.views))
        watcher.happened(f"Metrics are at {address}/metrics.")
    return observed.metrics
