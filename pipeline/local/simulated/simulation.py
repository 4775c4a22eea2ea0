"""How the simulated API behaves: everything that can be set when it starts."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.encoders.encoder import Encoder
from pipeline.local.simulated.buckets import Limits
from pipeline.local.simulated.faults import Fault
from pipeline.local.simulated.latency import Latency

LIVELY: Mapping[str, Latency] = {
    "claude-haiku-5-5": Latency(median=0.35, sigma=0.25),
    "claude-sonnet-5-5": Latency(median=0.9, sigma=0.3),
    "*": Latency(median=0.9, sigma=0.3),
}
"""What `pipeline local` uses: modest times, Sonnet slower than Haiku."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """The defaults answer at once, without limits and without faults.

    Args:
        latency: By model id; `*` for all others.
        limits: A minute, by model id; `*` for all others. Each model has buckets of its own.
        limit_window: Seconds of a limit that may be used at once.
        faults: In force from the start.
        bad_keys: API keys that are refused; any other key is taken.
        seed: Of everything that is drawn.
        ledger: Requests whose details are kept.
        readers: Images and PDF files read at once, each in a thread.
        batch_seconds: From the creation of a batch to its end.
        encoder: What labels are chosen with, beside words; none for words alone.
    """

    latency: Mapping[str, Latency] = field(default_factory=dict)
    limits: Mapping[str, Limits] = field(default_factory=dict)
    limit_window: float = 60.0
    faults: tuple[Fault, ...] = ()
    bad_keys: frozenset[str] = frozenset({"sk-ant-invalid"})
    seed: int = 0
    ledger: int = 100_000
    readers: int = 2
    batch_seconds: float = 2.0
    encoder: Encoder | None = None
