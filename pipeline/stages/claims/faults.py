"""What is wrong with a `uri`, in the same words for every scheme, or with its store."""

from pipeline.errors import Invalid
from pipeline.events import DeadLetterReason

_FIELD = "uri"
_FORBIDDEN = 403
_OF_THE_STORE = frozenset({401, 407, 408, 409, 425, 429})
"""4xx that speak about who asks, or about when."""
_OBJECT_CODES = frozenset({
    "NoSuchKey", "NoSuchVersion", "InvalidObjectState", "KeyTooLongError", "InvalidRange",
    "InvalidURI", "MethodNotAllowed", "404",
})  # fmt: skip
_STORE_CODES = frozenset({
    # Who asks.
    "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken",
    "TokenRefreshRequired", "InvalidSecurity", "NotSignedUp", "AccountProblem",
    "AllAccessDisabled", "AuthorizationHeaderMalformed", "InvalidRegion",
    "UnauthorizedAccess", "CredentialsNotSupported", "InvalidPayer",
    # Which bucket, and where: the settings name it.
    "NoSuchBucket", "InvalidBucketName", "InvalidBucketState", "PermanentRedirect",
    "IllegalLocationConstraintException", "UnsupportedSignature",
    # When.
    "RequestTimeTooSkewed", "RequestExpired", "RequestTimeout", "SlowDown", "ThrottlingException",
    "TooManyRequests", "Throttling", "BandwidthLimitExceeded", "OperationAborted",
})  # fmt: skip
"""By Amazon's list of S3 error codes, which other stores follow."""


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


def refused(code: str) -> Invalid:
    """The store has an answer for everything but this object."""
    return Invalid(
        DeadLetterReason.INVALID_EVENT,
        f"{_FIELD}: the object store does not give this object: {code or 'no reason'}.",
    )


def blames_object(status: int, code: str) -> bool | None:
    """Whether an error of an object store is about the object that was asked for.

    Args:
        status: Of the HTTP response.
        code: In its body.

    Returns:
        None where it may be about the object as well as about its whole bucket: a 403 without a
        code that says more.
    """
    if code in _OBJECT_CODES:
        return True
    if code in _STORE_CODES or status in _OF_THE_STORE or not 400 <= status < 500:  # noqa: PLR2004
        return False
    return None if status == _FORBIDDEN else True
