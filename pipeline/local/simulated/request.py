"""A request as the simulated API understands it, after validation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.local.simulated.caches import Block
from pipeline.local.simulated.media import Media
from pipeline.local.simulated.models import Model


@dataclass(frozen=True, slots=True)
class MessageRequest:
    """What was asked.

    Args:
        model: The model.
        max_tokens: Output tokens at most.
        instructions: The system prompt and tool texts: what the asker says.
        content: The last user turn, in order: text and files.
        schema: What the answer must be, if it must be JSON.
        schema_key: Equal schemas, equal keys.
        tool: The tool that the answer must call, if it must.
        thinks: Whether the answer begins with a thinking block.
        shows_thinking: Whether that block has text.
        effort: The effort level.
        stop_sequences: Texts that end the answer.
        stream: Whether the answer is sent as server-sent events.
        blocks: The prompt in the order of the prompt cache.
        digest: Of everything but the model.
    """

    model: Model
    max_tokens: int
    instructions: str
    content: tuple[str | Media, ...]
    schema: Mapping[str, Any] | None
    schema_key: bytes
    tool: str | None
    thinks: bool
    shows_thinking: bool
    effort: str
    stop_sequences: tuple[str, ...]
    stream: bool
    blocks: tuple[Block, ...]
    digest: str

    @property
    def prompt_tokens(self) -> int:
        """The whole prompt, cached or not."""
        return sum(block.tokens for block in self.blocks)
