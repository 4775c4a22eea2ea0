"""What happens to one event: read it, ask a tier, decide, escalate, publish.

- `haiku`: the first tier, raw events of one stage.
- `sonnet`: the second tier, what was escalated by any stage.
- `ask_tier`, `judge`: one answer of one tier, and whether it can be trusted.
- `policy`, `policies`, `second_opinion`, `cap`: doubts, thresholds, and how much is escalated.
- `reading`, `stage_guard`, `publishing`, `tracing`: an event's way in and out.

Imports `claude`, `stages`, `kafka` and what is below them.
"""
