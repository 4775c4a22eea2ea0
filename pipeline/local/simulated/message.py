"""A request after validation, and how an answer to it becomes a `Message`."""

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from pipeline.local.simulated.media_limits import Media
from pipeline.local.simulated.prompt import Block, CacheUse
from pipeline.local.simulated.served_models import MARK, Model, text_tokens, text_within


@dataclass(frozen=True, slots=True)
class MessageRequest:
    """What was asked; `content` is the last user turn, `digest` is of everything but the model."""

    model: Model
    max_tokens: int
    instructions: str
    content: tuple[str | Media, ...]
    schema: Mapping[str, Any] | None
    schema_json: bytes
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
        return sum(block.tokens for block in self.blocks)


_THINKING_TOKENS: Mapping[str, int] = {
    "low": 40, "medium": 180, "high": 500, "xhigh": 1200, "max": 2400,
}  # fmt: skip
"""Thinking tokens of an answer at each effort; not published, plausible."""
_TOOL_CALL_TOKENS = 20


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer before it is sent; its output tokens include those of thinking."""

    content: list[dict[str, Any]]
    output_tokens: int
    thinking_tokens: int = 0
    stop_reason: str = "end_turn"
    stop_sequence: str | None = None
    stop_details: dict[str, Any] | None = None
    billed: bool = True

    def message(
        self, request: MessageRequest, use: CacheUse, message_id: str, tier: str
    ) -> dict[str, Any]:
        return {
            "id": message_id,
            "type": "message",
            "role": "assistant",
            "model": MARK + request.model.id,
            "content": self.content,
            "stop_reason": self.stop_reason,
            "stop_sequence": self.stop_sequence,
            "stop_details": self.stop_details,
            "usage": {
                "input_tokens": use.uncached,
                "cache_creation_input_tokens": use.written,
                "cache_read_input_tokens": use.read,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": use.written_5m,
                    "ephemeral_1h_input_tokens": use.written_1h,
                },
                "output_tokens": self.output_tokens,
                "output_tokens_details": {"thinking_tokens": self.thinking_tokens},
                "service_tier": tier,
            },
        }


def reply(request: MessageRequest, answer: Any) -> Reply:  # noqa: ANN401 - any JSON value or text
    """An answer within `max_tokens`."""
    thinking = _thinking_block(request)
    blocks, used = ([thinking[0]], thinking[1]) if thinking else ([], 0)
    if used >= request.max_tokens:
        return Reply(blocks, request.max_tokens, request.max_tokens, "max_tokens")
    if request.tool is not None:
        call = {"type": "tool_use", "id": f"toolu_{request.digest[:24]}", "name": request.tool}
        tokens = used + _TOOL_CALL_TOKENS + text_tokens(orjson.dumps(answer).decode())
        return Reply([*blocks, call | {"input": answer}], tokens, used, "tool_use")
    text = answer if request.schema is None else orjson.dumps(answer).decode()
    text, stop = _until_stop(text, request.stop_sequences)
    left = request.max_tokens - used
    tokens = max(1, text_tokens(text))
    reason = "end_turn" if stop is None else "stop_sequence"
    if tokens > left:
        text, tokens, reason, stop = text_within(text, left), left, "max_tokens", None
    return Reply([*blocks, _text(text)], used + tokens, used, reason, stop)


def refusal(category: str | None) -> Reply:
    details = {"type": "refusal", "category": category, "explanation": None}
    billed = category in {"bio", "frontier_llm", "reasoning_extraction"}
    return Reply([], 1, stop_reason="refusal", stop_details=details, billed=billed)


def spoil(good: Reply, kind: str, random: random.Random) -> Reply:
    """What a fault of the kinds that follow an answer makes of it."""
    text = "".join(block.get("text", "") for block in good.content)
    match kind:
        case "malformed":
            broken = text[:-1] if random.random() < 0.5 else f"Here is the answer: {text}"  # noqa: PLR2004
            return Reply([_text(broken)], good.output_tokens)
        case "cut_off":
            half = text[: len(text) // 2]
            return Reply([_text(half)], max(1, text_tokens(half)), stop_reason="max_tokens")
        case "no_text":
            block = {"type": "thinking", "thinking": "", "signature": "c2ltdWxhdGVk"}
            tokens = good.output_tokens
            return Reply([block], tokens, tokens, stop_reason="max_tokens")
        case "case":
            return Reply([_text(_other_case(text))], good.output_tokens)
        case _:
            return good


def _other_case(text: str) -> str:
    """The strings without blanks in another case, as enum values may come."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return orjson.dumps(_swap(value)).decode()


def _swap(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    match value:
        case str() if value.isidentifier():
            return value.capitalize()
        case dict():
            return {name: _swap(part) for name, part in value.items()}
        case list():
            return [_swap(part) for part in value]
        case _:
            return value


def _thinking_block(request: MessageRequest) -> tuple[dict[str, Any], int] | None:
    if not request.thinks:
        return None
    typical = _THINKING_TOKENS[request.effort]
    # From half to one and a half times the typical, the same for the same request.
    share = 0.5 + hashlib.blake2b(request.digest.encode(), digest_size=1).digest()[0] / 255
    shown = "Read the content, then fill the schema." if request.shows_thinking else ""
    block = {"type": "thinking", "thinking": shown, "signature": "c2ltdWxhdGVk"}
    return block, round(typical * share)


def _until_stop(text: str, stops: tuple[str, ...]) -> tuple[str, str | None]:
    found = [(at, stop) for stop in stops if (at := text.find(stop)) >= 0]
    if not found:
        return text, None
    at, stop = min(found)
    return text[:at], stop


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
