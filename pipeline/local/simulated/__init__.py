"""A simulated Messages API: a real HTTP server that the unmodified SDK talks to.

It refuses what the real one refuses, counts tokens, keeps prompt caches and rate limits, fails on
demand, and keeps a ledger of what was really paid. Its answers come from local rules over the
request's own schema and content, and say so: their `model` begins with `simulated-`.
"""

from pipeline.local.simulated.control import LIVELY, Latency, Ledger, Served, Simulation
from pipeline.local.simulated.injected_faults import Fault
from pipeline.local.simulated.rate_limiting import Limits
from pipeline.local.simulated.served_models import MARK
from pipeline.local.simulated.server import SimulatedApi

__all__ = [
    "LIVELY",
    "MARK",
    "Fault",
    "Latency",
    "Ledger",
    "Limits",
    "Served",
    "SimulatedApi",
    "Simulation",
]
