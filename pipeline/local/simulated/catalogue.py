"""`GET /v1/models`: the models as the API describes them."""

from typing import Any

from pipeline.local.simulated.errors import ApiError
from pipeline.local.simulated.models import MODELS, Model


def listed() -> dict[str, Any]:
    """All models, newest first."""
    data = [described(model) for model in MODELS.values()]
    return {
        "data": data,
        "has_more": False,
        "first_id": data[0]["id"],
        "last_id": data[-1]["id"],
    }


def one(name: str) -> dict[str, Any]:
    """One model.

    Raises:
        ApiError: 404, where there is none of that id.
    """
    if name not in MODELS:
        raise ApiError(404, f"model: {name}")
    return described(MODELS[name])


def described(model: Model) -> dict[str, Any]:
    """A `ModelInfo`."""
    yes, no = {"supported": True}, {"supported": False}
    efforts = {level: {"supported": level in model.efforts} for level in _LEVELS}
    kinds = ("adaptive", "between_tools", "disabled", "enabled")
    return {
        "type": "model",
        "id": model.id,
        "display_name": model.display_name,
        "created_at": model.released,
        "deprecated_at": None,
        "retires_at": None,
        "lifecycle": "active",
        "line": model.line,
        "max_input_tokens": model.context,
        "max_tokens": model.max_output,
        "capabilities": {
            "batch": yes,
            "citations": no,
            "code_execution": no,
            "context_management": no,
            "effort": {"supported": bool(model.efforts), **efforts},
            "image_input": yes,
            "pdf_input": yes,
            "server_tools": {"supported": False, "code_execution": no, "web_search": no},
            "structured_outputs": yes,
            "thinking": {
                "supported": True,
                "types": {kind: {"supported": kind in model.thinking} for kind in kinds},
            },
        },
    }


_LEVELS = ("low", "medium", "high", "xhigh", "max")
