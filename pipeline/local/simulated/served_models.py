"""The models the simulated API serves, how it describes them, and what prompts count for them.

Read from the public model pages of October 2026. The tokenizer is not public. Text is counted at
2.5 bytes a token, which the model pages give as a rule of thumb for the models of 2026 (1M tokens
are about 2.5M characters of English); images as documented. The overheads of messages, schemas
and PDF pages are not published: those here are plausible, not measured.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args

from pipeline.local.simulated.api_errors import ApiError

Line = Literal["haiku", "sonnet", "opus"]
ThinkingType = Literal["adaptive", "disabled", "between_tools", "enabled"]
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
MARK = "simulated-"
"""What every answer's `model` begins with."""


@dataclass(frozen=True, slots=True)
class Model:
    """What the API accepts for one model."""

    id: str
    display_name: str
    line: Line
    released: str  # RFC 3339
    context: int = 1_000_000  # prompt tokens at most
    max_output: int = 128_000  # highest `max_tokens`
    thinking: frozenset[ThinkingType] = frozenset({"adaptive"})
    thinks_by_default: bool = True  # whether it thinks where the request says nothing
    efforts: tuple[str, ...] = _EFFORTS
    default_effort: str = "medium"  # the effort where the request says nothing
    prefill: bool = False  # whether the last message may be the assistant's
    forced_tools: bool = False  # whether `tool_choice` may be `any` or `tool`
    cacheable: int = 512  # tokens a prompt prefix needs to be cached
    image_edge: int = 2576  # pixels of the long edge that images are scaled down to
    image_tokens: int = 4784  # tokens an image costs at most


_ALL = (
    Model(
        id="claude-haiku-5-5",
        display_name="Claude Haiku 5.5",
        line="haiku",
        released="2026-10-07T00:00:00Z",
        thinking=frozenset({"adaptive", "disabled", "between_tools"}),
        forced_tools=True,
    ),
    Model(
        id="claude-sonnet-5-5",
        display_name="Claude Sonnet 5.5",
        line="sonnet",
        released="2026-09-28T00:00:00Z",
        thinking=frozenset({"adaptive", "between_tools"}),
        default_effort="high",
    ),
    Model(
        id="claude-opus-5-5",
        display_name="Claude Opus 5.5",
        line="opus",
        released="2026-09-22T00:00:00Z",
    ),
    Model(
        id="claude-haiku-4-5-20251001",
        display_name="Claude Haiku 4.5",
        line="haiku",
        released="2025-10-01T00:00:00Z",
        context=200_000,
        max_output=64_000,
        thinking=frozenset({"enabled", "disabled"}),
        thinks_by_default=False,
        efforts=(),
        prefill=True,
        forced_tools=True,
        cacheable=4096,
        image_edge=1568,
        image_tokens=1568,
    ),
)
MODELS: Mapping[str, Model] = MappingProxyType({model.id: model for model in _ALL})
"""Every model by id, newest first within its line."""


BYTES_PER_TOKEN = 2.5
MESSAGE_OVERHEAD = 4
SCHEMA_OVERHEAD = 60
TOOLS_OVERHEAD = {False: 286, True: 406}
"""Documented for Haiku 5.5: without and with a forced tool."""
PDF_PAGE_TOKENS = 1500
"""A page is read as an image beside its text."""
_PATCH = 28


def text_tokens(text: str) -> int:
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return math.ceil(size / BYTES_PER_TOKEN)


def text_within(text: str, tokens: int) -> str:
    """The longest beginning of a text that does not count more than `tokens`."""
    size = math.floor(tokens * BYTES_PER_TOKEN)
    return text.encode("utf-8", "surrogatepass")[:size].decode("utf-8", "ignore")


def image_tokens(width: int, height: int, model: Model) -> int:
    """Tokens of an image, after the scaling that the model applies."""
    scale = min(1.0, model.image_edge / max(width, height))
    patches = math.ceil(width * scale / _PATCH) * math.ceil(height * scale / _PATCH)
    return max(1, min(patches, model.image_tokens))


def pdf_tokens(text: str, pages: int) -> int:
    return text_tokens(text) + pages * PDF_PAGE_TOKENS


def list_models() -> dict[str, Any]:
    """The body of `GET /v1/models`, newest first."""
    data = [describe_model(name) for name in MODELS]
    return {"data": data, "has_more": False, "first_id": data[0]["id"], "last_id": data[-1]["id"]}


def describe_model(name: str) -> dict[str, Any]:
    """A `ModelInfo`."""
    model = MODELS.get(name)
    if model is None:
        raise ApiError(404, f"model: {name}")
    yes, no = {"supported": True}, {"supported": False}
    efforts = {level: {"supported": level in model.efforts} for level in _EFFORTS}
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
                "types": {
                    kind: {"supported": kind in model.thinking}
                    for kind in sorted(get_args(ThinkingType))
                },
            },
        },
    }
