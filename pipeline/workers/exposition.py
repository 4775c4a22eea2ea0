"""The metrics of all workers as one page: the same families, one more label."""

from collections.abc import Mapping

from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector, CollectorRegistry


class Merged(Collector):
    """What the pages of all workers say, as a collector of its own.

    Args:
        pages: In the Prometheus text format, by the value of the label `worker` that tells them
            apart; read anew each time.
    """

    def __init__(self, pages: Mapping[str, str]) -> None:
        self._pages = pages

    def collect(self) -> list[Metric]:
        """The families of all pages, each sample with its worker."""
        families: dict[str, Metric] = {}
        for worker, page in self._pages.items():
            for family in text_string_to_metric_families(page):
                merged = families.setdefault(
                    family.name, Metric(family.name, family.documentation, family.type)
                )
                for sample in family.samples:
                    merged.samples.append(
                        sample._replace(labels={**sample.labels, "worker": worker})
                    )
        return list(families.values())


def merge(pages: Mapping[str, str]) -> bytes:
    """Merge exposition pages in the Prometheus text format.

    Args:
        pages: By the value of the label `worker` that tells them apart.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Merged(pages))
    return generate_latest(registry)
