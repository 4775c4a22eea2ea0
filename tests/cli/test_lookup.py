"""`pipeline lookup` against a broker."""

import asyncio
import json

from pipeline.local.broker import LocalBroker
from pipeline.stream.records import Outgoing
from tests.cli.conftest import Run
from tests.operators.dead_letters.examples import write


def test_an_event_is_looked_up_by_its_id_and_its_key(
    run: Run, prefix: str, embedded_broker: LocalBroker
) -> None:
    run("topics", "create", "tickets")
    raw = Outgoing(f"{prefix}tickets.raw", b"ada", b'{"id": "T-1", "body": "\\u001b[2J"}', ())
    asyncio.run(write(embedded_broker.settings, [raw]))
    for wanted in ("T-1", "ada"):
        found = json.loads(run("lookup", wanted, "--json").out)
        assert [each["event_id"] for each in found["entries"]] == ["T-1"]
    shown = run("lookup", "T-1", "--since", "2h")
    assert (shown.code, "\x1b" in shown.out) == (0, False)
    assert "waiting, in work, or passed over" in shown.out
    assert "1 records of" in shown.err
    missing = run("lookup", "T-2")
    assert missing.code == 1
    assert "Nothing was found" in missing.err
