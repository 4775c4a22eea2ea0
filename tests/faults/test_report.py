"""A result is only good where everything is, and says what is not."""

import json
from dataclasses import replace

import pytest

from tests.faults.audit import Findings, audit
from tests.faults.exposure import Exposure, Fault, Kind, Repetitions
from tests.faults.poison import Harm
from tests.faults.replicas import UnaskedEnd
from tests.faults.report import Result
from tests.faults.test_audit import came, sent

GOOD = Result(
    scenario="fault run",
    setting={"seed": 1},
    findings=audit(sent("a", "b"), [], came("a", "b")),
    calls=Repetitions(made=3, repeated=1, bound=2, recent=2, unexplained=()),
    exposures=[Exposure(Fault(Kind.KILL, "replica 0", "r", 2.0), frozenset(), frozenset())],
    aborted=4,
    drained=True,
    delivery=["exactly_once"],
    unasked=[],
    late_ends=0,
    open_transactions=[],
    harm=Harm(published=2, ends={"dead_letter": 2}),
    complaints=[],
    notes={"leaderships_moved": 7},
)
LOST: Findings = audit(sent("a", "b"), [], came("a"))


def test_a_good_result_is_reported_as_table_and_as_json() -> None:
    assert GOOD.ok
    as_json = json.loads(json.dumps(GOOD.as_json()))
    assert as_json["ok"] is True
    assert (
        as_json["lost"]
        == as_json["duplicated"]
        == as_json["out_of_order"]
        == as_json["dead_letters"]
        == 0
    )
    assert (as_json["calls_repeated"], as_json["calls_repeated_at_most"]) == (1, 2)
    assert as_json["faults"] == {"kill -9": 1}
    assert any(line.startswith("kill -9") for line in GOOD.lines())


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (replace(GOOD, findings=LOST), "lost: b"),
        (replace(GOOD, calls=Repetitions(3, 3, 2, 3, ())), None),
        (replace(GOOD, calls=Repetitions(3, 3, 3, 2, ())), None),
        (
            replace(GOOD, calls=Repetitions(3, 1, 2, 2, ("a (haiku)",))),
            "without a fault: a (haiku)",
        ),
        (replace(GOOD, drained=False), "not everything was committed"),
        (replace(GOOD, delivery=["at_least_once", "exactly_once"]), "delivery in force: at_least"),
        (replace(GOOD, delivery=[]), "delivery in force: unknown"),
        (replace(GOOD, late_ends=1), "did not end in time"),
        (replace(GOOD, open_transactions=["review/0"]), "left open: review/0"),
        (replace(GOOD, complaints=["something else"]), "something else"),
    ],
)
def test_whatever_is_wrong_makes_it_bad_and_is_said(result: Result, said: str | None) -> None:
    assert not result.ok
    assert result.as_json()["ok"] is False
    assert said is None or any(said in line for line in result.lines())


def test_a_replica_that_ended_by_itself_and_was_started_again_is_reported_and_no_failure() -> None:
    result = replace(GOOD, unasked=[UnaskedEnd("replica 1", 1, "stuck")])
    assert result.ok
    assert "replica 1 ended by itself (1): stuck" in result.lines()
