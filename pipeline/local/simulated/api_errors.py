"""What the API says when it does not answer."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

KINDS: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
RATE_LIMITED = 429


class ApiError(Exception):
    """A documented error response."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.details = details
        self.retry_after = retry_after

    @property
    def kind(self) -> str:
        return KINDS[self.status]

    def body(self, request_id: str) -> dict[str, Any]:
        error: dict[str, Any] = {"type": self.kind, "message": self.message}
        if self.details is not None:
            error["details"] = dict(self.details)
        return {"type": "error", "error": error, "request_id": request_id}

    def headers(self) -> dict[str, str]:
        return {} if self.retry_after is None else {"retry-after": str(self.retry_after)}


def invalid(path: str, problem: str) -> ApiError:
    """A 400 about one place in the request."""
    return ApiError(400, f"{path}: {problem}")


class Shape(BaseModel):
    """A part of a request, as pydantic checks it: the API's own sentences are pydantic's."""

    model_config = ConfigDict(strict=True)


ShapeT = TypeVar("ShapeT", bound=Shape)


def read_shape(shape: type[ShapeT], value: Any, path: str = "") -> ShapeT:  # noqa: ANN401 - not yet checked
    """Read a part of a request.

    Raises:
        ApiError: 400 about the first thing that is wrong; `path` is where the part is.
    """
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(step) for step in (path, *first["loc"]) if step != "")
        raise invalid(place, first["msg"]) from None


_ACCOUNT_ERRORS: Mapping[str, tuple[int, str, int | None]] = {
    "ramp_limit_exceeded": (
        429,
        "Your usage is growing faster than the ramp limit allows. Retry after the time given.",
        10,
    ),
    "enforced_spend_limit_reached": (
        429, "Your organization has reached the monthly usage threshold of its tier.", None
    ),
    "contract_spend_limit_reached": (
        429, "Your organization has reached the spend limit of its contract.", None
    ),
    "own_spend_limit": (
        400,
        (
            "You have reached your specified API usage limits. "
            "You will regain access on the first of next month."
        ),
        None,
    ),
    "authentication": (401, "invalid x-api-key", None),
    "permission": (403, "Your API key does not have permission to use this.", None),
    "billing": (402, "Your credit balance is too low to access the API.", None),
}  # fmt: skip


def refused_call(code: str) -> ApiError:
    """The errors that come from limits and accounts, by the code of their details or kind."""
    status, message, retry_after = _ACCOUNT_ERRORS[code]
    details = {"error_code": code} if status == RATE_LIMITED else None
    return ApiError(status, message, details=details, retry_after=retry_after)
