"""The prompt of a request: its blocks, checked one by one, and what the prompt cache holds."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import orjson

from pipeline.local.simulated.api_errors import ApiError, Shape, invalid, read_shape
from pipeline.local.simulated.media_limits import PDF, Media, check_together, read_media
from pipeline.local.simulated.served_models import (
    MESSAGE_OVERHEAD,
    TOOLS_OVERHEAD,
    Model,
    image_tokens,
    text_tokens,
)

Ttl = Literal["5m", "1h"]
_SECONDS: dict[Ttl, float] = {"5m": 300.0, "1h": 3600.0}
_LOOKBACK = 20


@dataclass(frozen=True, slots=True)
class Block:
    """A cacheable piece of a prompt."""

    content: bytes
    tokens: int
    breakpoint: Ttl | None = None


@dataclass(slots=True)
class _Entry:
    readable_at: float | None
    expires_at: float
    ttl: Ttl


@dataclass(frozen=True, slots=True)
class CacheUse:
    """How the tokens of a prompt split; their sum is the whole prompt."""

    uncached: int
    read: int = 0
    written_5m: int = 0
    written_1h: int = 0

    @property
    def written(self) -> int:
        return self.written_5m + self.written_1h


class PromptCache:
    """What is cached, for all models and keys."""

    def __init__(self, max_entries: int = 10_000) -> None:
        self._max_entries = max_entries
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()

    def use(
        self, scope: str, blocks: Sequence[Block], *, minimum: int, now: float
    ) -> tuple[CacheUse, Sequence[bytes]]:
        """Look a prompt up at the start of its request, and note what it will write.

        Args:
            scope: What never shares entries: the key and the model.
            blocks: The prompt in order: tools, system, messages.
            minimum: Tokens a prefix needs to be cached.
            now: The start of the request.

        Returns:
            The split, and the keys to pass to `readable` when the response begins.
        """
        total = sum(block.tokens for block in blocks)
        marks = [i for i, block in enumerate(blocks) if block.breakpoint is not None]
        if not marks:
            return CacheUse(uncached=total), []
        digests, sums = _prefixes(scope, blocks[: marks[-1] + 1])
        hit = self._longest_hit(marks, digests, sums, minimum, now)
        written: dict[Ttl, int] = {"5m": 0, "1h": 0}
        done = sums[hit] if hit is not None else 0
        read, keys = done, []
        for mark in marks:
            ttl = blocks[mark].breakpoint
            if ttl is None or sums[mark] < minimum:
                continue
            keys.append(digests[mark])
            self._note(digests[mark], ttl, now)
            if sums[mark] > done:
                written[ttl] += sums[mark] - done
                done = sums[mark]
        use = CacheUse(total - done, read, written["5m"], written["1h"])
        return use, keys

    def readable(self, keys: Sequence[bytes], now: float) -> None:
        """The response of the request that wrote them has begun."""
        for key in keys:
            entry = self._entries.get(key)
            if entry is not None and (entry.readable_at is None or entry.readable_at > now):
                entry.readable_at = now

    def clear(self) -> None:
        self._entries.clear()

    def _longest_hit(
        self, marks: list[int], digests: list[bytes], sums: list[int], minimum: int, now: float
    ) -> int | None:
        hits = [
            index
            for mark in marks
            for index in range(max(0, mark - _LOOKBACK + 1), mark + 1)
            if sums[index] >= minimum and self._hit(digests[index], now)
        ]
        return max(hits, default=None)

    def _hit(self, key: bytes, now: float) -> bool:
        entry = self._entries.get(key)
        if entry is None or entry.readable_at is None or entry.readable_at > now:
            return False
        if entry.expires_at <= now:
            del self._entries[key]
            return False
        entry.expires_at = now + _SECONDS[entry.ttl]
        self._entries.move_to_end(key)
        return True

    def _note(self, key: bytes, ttl: Ttl, now: float) -> None:
        entry = self._entries.get(key)
        if entry is None or entry.expires_at <= now:
            self._entries[key] = _Entry(None, now + _SECONDS[ttl], ttl)
            while len(self._entries) > self._max_entries:
                self._entries.popitem(last=False)
        elif _SECONDS[ttl] > _SECONDS[entry.ttl]:
            entry.ttl, entry.expires_at = ttl, now + _SECONDS[ttl]


def _prefixes(scope: str, blocks: Sequence[Block]) -> tuple[list[bytes], list[int]]:
    digest = hashlib.blake2b(scope.encode(), digest_size=16)
    digests, sums, total = [], [], 0
    for block in blocks:
        digest.update(len(block.content).to_bytes(8, "big"))
        digest.update(block.content)
        total += block.tokens
        digests.append(digest.digest())
        sums.append(total)
    return digests, sums


MAX_MESSAGES = 100_000
MAX_BREAKPOINTS = 4
MediaTokens = Callable[[Media], int]
"""What a PDF file counts; may raise `ApiError` where it cannot be opened or is too long."""


class Turn(Shape, extra="forbid"):
    """A message of the conversation."""

    role: Literal["user", "assistant"]
    content: Any = None


class _CacheControl(Shape):
    type: Literal["ephemeral"]
    ttl: Ttl = "5m"


class _TextBlock(Shape):
    type: Literal["text"]
    text: str


def read_ttl(control: Any, path: str) -> Ttl:  # noqa: ANN401 - what the request has there
    """The time to live that a `cache_control` asks for."""
    return read_shape(_CacheControl, control, path).ttl


class Prompt:
    """Collects the prompt's blocks in the order of the prompt cache."""

    def __init__(self, model: Model, pdf_tokens: MediaTokens) -> None:
        self._model = model
        self._pdf_tokens = pdf_tokens
        self._blocks: list[Block] = []
        self._images: list[Media] = []
        self.instructions: list[str] = []

    def add(self, content: bytes, tokens: int, mark: Ttl | None = None) -> None:
        self._blocks.append(Block(content, tokens, mark))

    def mark_last(self, ttl: Ttl) -> None:
        """What top-level `cache_control` does: a breakpoint on the last block."""
        self._blocks[-1] = replace(self._blocks[-1], breakpoint=ttl)

    def add_tools(self, tools: Sequence[Mapping[str, Any]], *, forced: bool) -> None:
        for i, tool in enumerate(tools):
            content = orjson.dumps({k: v for k, v in tool.items() if k != "cache_control"})
            overhead = TOOLS_OVERHEAD[forced] if i == 0 else 0
            tokens = overhead + text_tokens(content.decode())
            self.add(b"tool" + content, tokens, self._mark(tool, f"tools.{i}"))
            if isinstance(description := tool.get("description"), str):
                self.instructions.append(description)

    def add_system(self, system: Any) -> None:  # noqa: ANN401 - what the request has there
        if system is None:
            return
        blocks = [{"type": "text", "text": system}] if isinstance(system, str) else system
        if not isinstance(blocks, list):
            raise invalid("system", "Input should be a string or a list of text blocks")
        for i, block in enumerate(blocks):
            path = f"system.{i}"
            text = _text(block, path)
            self.instructions.append(text)
            self.add(b"system" + text.encode(), text_tokens(text), self._mark(block, path))

    def add_messages(
        self, messages: Sequence[Mapping[str, Any]], *, prefill: bool
    ) -> tuple[str | Media, ...]:
        """The conversation, each a `Turn`; the content of its last user turn comes back."""
        if not messages:
            raise invalid("messages", "at least one message is required")
        if messages[0]["role"] != "user":
            raise invalid("messages", "first message must use the user role")
        content: list[str | Media] = []
        role = None
        for i, message in enumerate(messages):
            if message["role"] == "user" and role != "user":
                content = []
            role = message["role"]
            read = self._message(message, f"messages.{i}")
            if role == "user":
                content += read
        if role == "assistant" and not prefill:
            raise ApiError(
                400,
                "This model does not support assistant message prefill. The conversation must end "
                "with a user message.",
            )
        return tuple(content)

    def _message(self, message: Mapping[str, Any], path: str) -> list[str | Media]:
        content = message.get("content")
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not isinstance(blocks, list) or not blocks:
            raise invalid(f"{path}.content", "must be a non-empty string or list of blocks")
        role = str(message["role"]).encode()
        self.add(role, MESSAGE_OVERHEAD)
        return [
            part
            for i, block in enumerate(blocks)
            if (part := self._content_block(block, f"{path}.content.{i}", role)) is not None
        ]

    def _content_block(self, block: Any, path: str, role: bytes) -> str | Media | None:  # noqa: ANN401
        kind = block.get("type") if isinstance(block, Mapping) else None
        match kind:
            case "text":
                if role == b"user" and block.get("citations"):
                    raise invalid(f"{path}.citations", "not permitted in user messages")
                text = _text(block, path)
                self.add(b"text" + text.encode(), text_tokens(text), self._mark(block, path))
                return text
            case "image" | "document" if role == b"user":
                return self._file(block, path)
            case "document":
                raise invalid(path, "document blocks are not permitted in assistant messages")
            case "thinking" | "redacted_thinking" | "tool_use" if role == b"assistant":
                self.add(orjson.dumps(block), text_tokens(orjson.dumps(block).decode()))
                return None
            case "tool_result" if role == b"user":
                text = orjson.dumps(block.get("content", "")).decode()
                self.add(b"result" + text.encode(), text_tokens(text), self._mark(block, path))
                return text
            case _:
                raise invalid(f"{path}.type", f"{kind!r} is not supported here")

    def _file(self, block: Mapping[str, Any], path: str) -> str | Media:
        mark = self._mark(block, path)
        source = block.get("source") if block["type"] == "document" else None
        if isinstance(source, Mapping) and source.get("type") == "text":
            text = str(source.get("data", ""))
            self.add(b"document" + text.encode(), text_tokens(text), mark)
            return text
        media = read_media(block, path)
        if media.media_type == PDF:
            tokens = self._pdf_tokens(media)
        else:
            tokens = image_tokens(media.width, media.height, self._model)
            self._images.append(media)
        self.add(media.media_type.encode() + media.digest, tokens, mark)
        return media

    def _mark(self, block: Mapping[str, Any], path: str) -> Ttl | None:
        control = block.get("cache_control")
        return None if control is None else read_ttl(control, f"{path}.cache_control")

    def finished(self) -> tuple[Block, ...]:
        """All blocks, once what holds over all of them is checked."""
        check_together(self._images)
        marks = [block.breakpoint for block in self._blocks if block.breakpoint]
        if len(marks) > MAX_BREAKPOINTS:
            raise ApiError(
                400,
                f"A maximum of {MAX_BREAKPOINTS} blocks with cache_control may be provided. "
                f"Found {len(marks)}.",
            )
        if "1h" in marks[marks.index("5m") :] if "5m" in marks else False:
            raise ApiError(400, "a ttl='1h' cache_control block must not come after a ttl='5m' one")
        return tuple(self._blocks)

    def digest(self) -> str:
        """Of everything but the model: equal prompts, equal digests."""
        return _prefixes("", self._blocks)[0][-1].hex()


def _text(block: Any, path: str) -> str:  # noqa: ANN401 - what the request has there
    text = read_shape(_TextBlock, block, path).text
    if not text:
        raise invalid(
            "messages" if path.startswith("messages") else path,
            "text content blocks must be non-empty",
        )
    return text
