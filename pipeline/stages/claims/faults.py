"""What is wrong with a `uri`, in the same words for every scheme."""

from pipeline.errors import Invalid
from pipeline.events import DeadLetterReason

_FIELD = "uri"


def forbidden() -> Invalid:
    """The place is not allowed."""
    return Invalid(
        DeadLetterReason.FORBIDDEN_URI,
        f"{_FIELD}: this place is not among those that `uri_allow` allows.",
    )


def leads_out() -> Invalid:
    """The place is allowed, and leads to one that is not."""
    return Invalid(DeadLetterReason.FORBIDDEN_URI, f"{_FIELD}: it leads out of its place.")


def not_a_file() -> Invalid:
    """There is nothing there, or nothing that may be read."""
    return Invalid(DeadLetterReason.INVALID_EVENT, f"{_FIELD}: there is no file that may be read.")


def too_large(max_bytes: int) -> Invalid:
    """There is more there than an event may have."""
    return Invalid(
        DeadLetterReason.TOO_LARGE, f"{_FIELD}: the file has more than {max_bytes:,} bytes."
    )
