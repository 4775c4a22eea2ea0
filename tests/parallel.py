"""How `-n` spreads the suite over processes; a plug-in of pytest, registered in `conftest.py`.

A file stays in one process, for its module fixtures. So do the users of a shared Apache Kafka, for
each process that uses one starts it for itself: a file that is missing here costs another start.
"""

import gc
import os
from collections.abc import Generator

import pytest
from xdist.remote import Producer  # type: ignore[import-untyped]  # it has no types
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from tests import brokers

_KAFKA, _SECURED_KAFKA = "kafka", "secured kafka"
_GROUPS = {
    "tests/backfill/test_program.py": _KAFKA,
    "tests/browser/test_lag_agreement.py": _KAFKA,
    "tests/faults/test_scenarios.py": _KAFKA,
    "tests/kafka/test_connection.py": _KAFKA,
    "tests/kafka/test_kafka_engine.py": _KAFKA,
    "tests/local/test_apache.py": _KAFKA,
    "tests/operators/dead_letters/test_crashes.py": _KAFKA,
    "tests/operators/review/test_at_once.py": _KAFKA,
    "tests/operators/test_forget_at_once.py": _KAFKA,
    "tests/stream/test_topic_changes.py": _KAFKA,
    "tests/doctor/test_services.py": _SECURED_KAFKA,
    "tests/e2e/test_secrecy.py": _SECURED_KAFKA,
    "tests/kafka/test_permissions.py": _SECURED_KAFKA,
    "tests/kafka/test_delivery_probe.py": _SECURED_KAFKA,
    "tests/kafka/test_security.py": _SECURED_KAFKA,
}
# What waits for programs, the longest first: what is short fills the gaps at the end.
_FIRST = (
    _KAFKA,
    _SECURED_KAFKA,
    "tests/stages/test_decoder_pool.py",
    "tests/deploy/test_manifests.py",
    "tests/stream/test_simulation.py",
    "tests/cli/test_evaluate.py",
    "tests/e2e/",
    "tests/local/test_demo.py",
    "tests/browser/",
    "tests/stages/test_grouping.py",
    "tests/stages/worst/",
    "tests/cli/",
    "tests/deploy/",
    "tests/kafka/",
    "tests/workers/",
    "tests/fuzz/",
    "tests/docs/",
)


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out groups in the order of the tests."""

    def _split_scope(self, nodeid: str) -> str:
        return _group(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """Instead of those that `--dist` names."""
    config.option.loadscopereorder = False
    return Scheduling(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Two more than there are cores, as many tests wait for a program or a clock."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return (os.cpu_count() or 1) + 2


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a parallel run: in the order in which they are handed out."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _rank(_group(item.nodeid)))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Without looking for garbage: what is imported is there to stay."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """Take what the test modules and their imports hold out of every later garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before a test of another group that needs a shared broker all the same."""
    if brokers.SHARED.intersection(getattr(item, "fixturenames", ())):
        brokers.go_on()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """After the last test of a group, which is never taken up again by this process."""
    if nextitem is None or not hasattr(item.config, "workerinput"):
        return
    group = _group(item.nodeid)
    if group in (_KAFKA, _SECURED_KAFKA) and group != _group(nextitem.nodeid):
        brokers.rest()


def _group(nodeid: str) -> str:
    file, _, test = nodeid.partition("::")
    return _KAFKA if "apache_kafka" in test else _GROUPS.get(file, file)


def _rank(group: str) -> int:
    return next((rank for rank, start in enumerate(_FIRST) if group.startswith(start)), len(_FIRST))
