"""The process that is fuzzed: reads seeds, one a line; says how each ended, as JSON, one a line."""

import json
import sys
import traceback

from pipeline.config import StagesSettings
from pipeline.stages.api import build_stages
from tests.fuzz.corpus import corpus
from tests.fuzz.mutation import mutated
from tests.fuzz.verdict import judge


def main() -> None:
    """Serve until standard input ends."""
    stages, records = build_stages(StagesSettings()), corpus()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        seed = int(line)
        record = mutated(records[seed % len(records)], records, seed)
        try:
            verdict = judge(stages, record)
            report = {"end": verdict.end, "fault": verdict.fault}
        except Exception:  # noqa: BLE001 - whatever it is, it is what is looked for
            report = {"end": "crashed", "fault": traceback.format_exc()}
        sys.stdout.write(json.dumps(report) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
