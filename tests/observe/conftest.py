import pytest
from prometheus_client import CollectorRegistry

from pipeline.observe.metrics import Conditions, Metrics


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def conditions() -> Conditions:
    return Conditions()


@pytest.fixture
def metrics(registry: CollectorRegistry, conditions: Conditions) -> Metrics:
    return Metrics(registry, conditions)
