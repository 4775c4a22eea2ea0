"""The models the simulated API serves, and the rules that differ between them.

Read from the public model pages of October 2026.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Line = Literal["haiku", "sonnet", "opus"]
ThinkingType = Literal["adaptive", "disabled", "between_tools", "enabled"]
MARK = "simulated-"
"""What every answer's `model` begins with."""


@dataclass(frozen=True, slots=True)
class Model:
    """What the API accepts for one model.

    Args:
        id: The id in requests.
        display_name: For people.
        line: The model line.
        released: RFC 3339 date and time.
        context: Prompt tokens at most.
        max_output: Highest `max_tokens`.
        thinking: The thinking types that are accepted.
        thinks_by_default: Whether it thinks where the request says nothing.
        efforts: The effort levels that are accepted.
        default_effort: The effort where the request says nothing.
        prefill: Whether the last message may be the assistant's.
        forced_tools: Whether `tool_choice` may be `any` or `tool`.
        cacheable: Tokens a prompt prefix needs to be cached.
        image_edge: Pixels of the long edge that images are scaled down to.
        image_tokens: Tokens an image costs at most.
    """

    id: str
    display_name: str
    line: Line
    released: str
    context: int = 1_000_000
    max_output: int = 128_000
    thinking: frozenset[ThinkingType] = frozenset({"adaptive"})
    thinks_by_default: bool = True
    efforts: tuple[str, ...] = ("low", "medium", "high", "xhigh", "max")
    default_effort: str = "medium"
    prefill: bool = False
    forced_tools: bool = False
    cacheable: int = 512
    image_edge: int = 2576
    image_tokens: int = 4784


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
