"""The errors of the pipeline, each a type with a meaning.

They are raised where the fact is known and turned into a route in one place,
`pipeline.cascade`. What is missing here is missing on purpose: overload, rate limits,
time-outs and a rejected key are not errors of an event, so `pipeline.claude` waits them out
and never raises them to its caller, unless they befall one event alone (`Unanswered`).
"""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pipeline.model.records import DeadLetterReason, Usage


class PipelineError(Exception):
    """An error whose text is one plain sentence that says what happened and what to do."""


class UsageError(PipelineError):
    """The command line or the settings ask for something that cannot be; exit code 2."""


class InvalidEvent(PipelineError):
    """The event itself is at fault: it becomes a dead letter, and nothing else is affected.

    `reason` is the code of the `dlq-reason` header; `detail` a sentence for a person, which names
    the field where there is one and never quotes the payload; `attempts` are the calls made for it.
    """

    def __init__(self, reason: "DeadLetterReason", detail: str, *, attempts: int = 0) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.attempts = attempts


class Unavailable(PipelineError):
    """Something outside cannot be reached at present; no event is at fault.

    The event waits and is tried again: it must never become a dead letter for this. `scope` is what
    is away: the whole `place`, whatever is asked of it; this one `file` while its place answers;
    or, with None, it is not known: what becomes of others shows it.
    """

    def __init__(self, detail: str, *, scope: Literal["place", "file"] | None = None) -> None:
        super().__init__(detail)
        self.scope = scope


class AnswerError(PipelineError):
    """A call that was made, and may have been paid, gave no usable answer.

    `usage` and `seconds` are counted on the record that results; `model` is as the API names it.
    """

    def __init__(self, detail: str, *, usage: "Usage", model: str, seconds: float) -> None:
        super().__init__(detail)
        self.detail = detail
        self.usage = usage
        self.model = model
        self.seconds = seconds


class Refused(AnswerError):
    """The model declined (`stop_reason: refusal`), or a filter withheld what it wrote.

    The same request would be refused again.
    """


class TruncatedResponse(AnswerError):
    """The answer ended at the token limit; a larger limit may help."""


class NoRoom(TruncatedResponse):
    """The answer ended because the model's context was full; no limit is large enough."""


class Malformed(AnswerError):
    """The answer is not JSON, or not what its schema says."""


class Rejected(AnswerError):
    """The API rejects this very request (400, 413, 422): no repetition will help."""


class NotMaskable(Rejected):
    """The settings let no file be asked about, since it cannot be masked. Nothing was asked."""


class StageFailed(AnswerError):
    """The stage's answer model has a bug, and failed over this answer; `detail` does not quote it.

    The answer was paid all the same.
    """


class Unanswered(AnswerError):
    """Calls failed again and again while others like it were answered: it is this question."""


class FileUnavailable(AnswerError):
    """The event's file could not be had, again and again, while those of others could.

    Nothing was asked, so nothing was paid; `model` is `none`.
    """
