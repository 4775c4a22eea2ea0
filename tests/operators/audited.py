"""Commands in tests, and the audit records that come of them."""

from pipeline.model.records import Audit, read_record
from pipeline.operators.audit import AuditedCommand
from pipeline.testing import MemoryBroker


def command(name: str = "dead-letters replay", did: str = "replayed") -> AuditedCommand:
    return AuditedCommand("audit", "ada", name, did, run="run-1")


def audited(broker: MemoryBroker) -> list[Audit]:
    """All audit records that a committed reader sees."""
    return [
        read_record(Audit, entry.record.value)
        for entries in broker.committed_records("audit").values()
        for entry in entries
        if entry.record is not None
    ]
