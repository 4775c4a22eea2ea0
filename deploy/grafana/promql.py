"""The expressions that the dashboards are made of. Pure."""

INTERVAL = "$__rate_interval"
SHOWN = "$__range"
"""The whole time that the dashboard shows."""

NAMESPACE = 'namespace=~"$namespace"'
STAGE = f'{NAMESPACE}, stage=~"$stage"'


def series(metric: str, where: str) -> str:
    """The series of a metric."""
    return f"{metric}{{{where}}}"


def per_second(metric: str, where: str, *by: str, over: str = INTERVAL) -> str:
    """How fast a counter grows, summed up."""
    return f"sum{_by(by)} (rate({series(metric, where)}[{over}]))"


def growth(metric: str, where: str, *by: str, over: str = SHOWN) -> str:
    """By how much a counter grew, summed up."""
    return f"sum{_by(by)} (increase({series(metric, where)}[{over}]))"


def largest(metric: str, where: str, *by: str) -> str:
    """The largest of each group."""
    return f"max{_by(by)} ({series(metric, where)})"


def total(metric: str, where: str, *by: str) -> str:
    """A gauge, summed up."""
    return f"sum{_by(by)} ({series(metric, where)})"


def quantile(share: float, metric: str, where: str, by: str) -> str:
    """What that share of a histogram's observations is below."""
    buckets = per_second(f"{metric}_bucket", where, by, "le")
    return f"histogram_quantile({share}, {buckets})"


def quantiles(metric: str, where: str, by: str, *shares: float) -> dict[str, str]:
    """A curve for each share, e.g. `tickets p95`."""
    return {
        f"{{{{{by}}}}} p{share * 100:.0f}": quantile(share, metric, where, by) for share in shares
    }


def waiting(where: str, *by: str) -> str:
    """Events after the committed offsets; a partition that two processes tell of counts once."""
    partitions = largest("pipeline_lag_events", where, "namespace", "stage", "topic", "partition")
    return f"sum{_by(by)} ({partitions})"


def ratio(part: str, whole: str) -> str:
    """One divided by another; nothing rather than no number where there is no whole."""
    return f"{part} / ({whole} > 0)"


def _by(labels: tuple[str, ...]) -> str:
    return f" by ({', '.join(labels)})" if labels else ""
