"""Names that were settings once: they are refused, and the message says what to do instead.

They are not taken for the new ones: of two names for one thing it would have to be explained for
ever which of them wins.
"""

from collections.abc import Sequence

_STAGE = "<stage>"
INSTEAD = {
    "claude.answer_cache_entries": "it is always 10,000",
    "claude.answer_cache_path": "set claude.state_dir, the directory of answers.sqlite3",
    "claude.backoff_first": "it is 0.5 s, or claude.backoff_max if that is less",
    "claude.breaker_failures": "it is always 5",
    "claude.breaker_open": "it is always 5 s",
    "claude.budget_path": "set claude.state_dir, the directory of spend.sqlite3",
    "claude.connect_timeout": "it is always 5 s",
    "claude.prompt_cache_ttl": "set claude.prompt_cache to it",
    "backfill.batch_bytes": "it is always 100 MB",
    "backfill.prompt_cache_ttl": "it is always 1h, unless claude.prompt_cache is off",
    "escalation.window": "it is always 300 s",
    "kafka.connect_timeout": "it is always 10 s",
    "kafka.heartbeat_interval": "it is 0.15 of kafka.session_timeout",
    "kafka.max_poll_interval": "it is always 120 s",
    "kafka.partition_fetch_max_bytes": "it is a quarter of kafka.fetch_max_bytes",
    "stages.<stage>.answer_cache": "set claude.answer_cache, of all stages",
    "stages.<stage>.decode_at_once": "set files.decoders, of all stages of a process",
    "stages.<stage>.label_thresholds": "set thresholds.stages.<stage>.labels",
    "stages.<stage>.linger_ms": "it is always 50",
    "stages.<stage>.max_event_bytes": "set stages.<stage>.max_text_chars, which it follows from",
    "stages.<stage>.s3.region": "set AWS_DEFAULT_REGION in the environment",
    "stages.<stage>.scope": "set escalation.scope, of all stages",
    "stages.<stage>.second_opinion": "set escalation.second_opinion.<stage> to what was `spares`",
    "stages.<stage>.sonnet_label_thresholds": "set thresholds.stages.<stage>.labels.<label>.sonnet",
    "stages.<stage>.sonnet_thresholds": "set thresholds.stages.<stage>.sonnet",
    "stages.<stage>.thresholds": "set thresholds.stages.<stage>",
    "stream.commit_count": "it is always 500",
    "stream.dead_letter_window": "it is always 200",
    "topics.backfills": "it is always backfills, behind topics.prefix",
    "topics.replayed": "it is always dead-letters.replayed, behind topics.prefix",
    "topics.resolved": "it is always review.resolved, behind topics.prefix",
    "tracing.service_name": "set OTEL_SERVICE_NAME in the environment",
}


def instead_of(path: Sequence[str]) -> str | None:
    """What to do instead of setting this, in half a sentence; None where it never was a setting."""
    match path:
        case ("stages", stage, *rest):
            found = INSTEAD.get(".".join(("stages", _STAGE, *rest)))
            return None if found is None else found.replace(_STAGE, stage)
        case _:
            return INSTEAD.get(".".join(path))
