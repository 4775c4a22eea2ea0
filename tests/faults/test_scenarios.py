"""Small versions of the fault runs, on an Apache Kafka.

They drill the runs themselves. What they find is held on a real Kafka by
`tests/kafka/test_kafka_engine.py` (a killed process, members that come and go), and in virtual time
by `tests/stream/test_engine.py` and `tests/stream/test_rebalance.py`.
"""

import pytest

from pipeline.local.apache import ApacheKafka
from tests.brokers import FreshName
from tests.faults.head_of_line import HeadOfLine, run_head_of_line
from tests.faults.rebalance import Rebalance, run_rebalance
from tests.faults.report import Result

pytestmark = [pytest.mark.kafka, pytest.mark.drill]


def described(result: Result) -> str:
    return "\n".join(result.lines())


async def test_a_slow_call_delays_no_other_and_a_crash_repeats_only_what_was_unfinished(
    apache_kafka: ApacheKafka, fresh_name: FreshName
) -> None:
    setup = HeadOfLine(slow_seconds=15, others=300, unfinished=20, unfinished_seconds=5)
    prefix = f"{fresh_name('head-of-line')}."
    result = await run_head_of_line(setup, apache_kafka, lambda _: None, prefix=prefix)
    assert result.ok, described(result)
    assert result.calls.repeated == result.calls.bound == 21


async def test_a_rebalance_under_load_duplicates_nothing_and_asks_nothing_twice(
    apache_kafka: ApacheKafka, fresh_name: FreshName
) -> None:
    setup = Rebalance(rounds=1, replicas=2, partitions=4, rate=10, between=3)
    prefix = f"{fresh_name('rebalance')}."
    result = await run_rebalance(setup, apache_kafka, lambda _: None, prefix=prefix)
    assert result.ok, described(result)
    assert result.calls.repeated == 0
