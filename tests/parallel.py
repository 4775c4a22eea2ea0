"""How the suite is spread over processes; a plug-in of pytest, registered in `conftest.py`.

`--dist loadgroup` keeps a file in one process, for its module fixtures, and the users of a shared
Apache Kafka likewise, because each process that uses one starts it anew.
"""

import gc
import os

import pytest

# Programs that are waited for, the longest first: what is short fills the gaps at the end.
_FIRST = (
    "kafka",
    "secured kafka",
    "tests/stages/test_decoder_pool.py",
    "tests/deploy/test_manifests.py",
    "tests/stream/test_simulation.py",
    "tests/cli/test_evaluate.py",
    "tests/e2e/",
    "tests/local/test_demo.py",
    "tests/backfill/",
    "tests/browser/",
    "tests/stages/test_grouping.py",
    "tests/stages/worst/",
    "tests/cli/",
    "tests/deploy/",
    "tests/doctor/",
    "tests/kafka/",
    "tests/workers/",
    "tests/fuzz/",
    "tests/docs/",
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Two more than there are cores, as many tests wait for a program or a clock."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return (os.cpu_count() or 1) + 2


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a parallel run: groups, in the order in which they are handed out."""
    if not hasattr(config, "workerinput"):
        return
    groups = {item: _group(item) for item in items}
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: _rank(groups[item]))


def pytest_collection_finish() -> None:
    """Take what the test modules and their imports hold out of every later garbage collection."""
    gc.collect()
    gc.freeze()


def _group(item: pytest.Item) -> str:
    wanted = {*getattr(item, "fixturenames", ()), *_parameters(item)}
    if "secured_for_all" in wanted:
        return "secured kafka"
    return "kafka" if "apache_kafka" in wanted else item.nodeid.partition("::")[0]


def _parameters(item: pytest.Item) -> list[str]:
    call = getattr(item, "callspec", None)
    return [] if call is None else [value for value in call.params.values() if type(value) is str]


def _rank(group: str) -> int:
    return next((rank for rank, start in enumerate(_FIRST) if group.startswith(start)), len(_FIRST))
