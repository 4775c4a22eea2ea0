"""A message as server-sent events, in the order that the API documents."""

from collections.abc import Iterator
from typing import Any

import orjson

_PIECE = 40
"""Characters of text in one event."""


def events_of(message: dict[str, Any]) -> Iterator[bytes]:
    """The events of a finished message."""
    usage = message["usage"]
    start = {
        **message,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "usage": {**usage, "output_tokens": 1},
    }
    yield _event("message_start", message=start)
    for index, block in enumerate(message["content"]):
        empty, deltas = _split(block)
        yield _event("content_block_start", index=index, content_block=empty)
        for delta in deltas:
            yield _event("content_block_delta", index=index, delta=delta)
        yield _event("content_block_stop", index=index)
    delta = {name: message[name] for name in ("stop_reason", "stop_sequence", "stop_details")}
    yield _event("message_delta", delta=delta, usage=usage)
    yield _event("message_stop")


def _split(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    match block["type"]:
        case "text":
            pieces = _pieces(block["text"])
            return {**block, "text": ""}, [{"type": "text_delta", "text": each} for each in pieces]
        case "tool_use":
            pieces = _pieces(orjson.dumps(block["input"]).decode())
            deltas = [{"type": "input_json_delta", "partial_json": each} for each in pieces]
            return {**block, "input": {}}, deltas
        case _:
            deltas = [{"type": "signature_delta", "signature": block["signature"]}]
            if block["thinking"]:
                deltas.insert(0, {"type": "thinking_delta", "thinking": block["thinking"]})
            return {**block, "thinking": "", "signature": ""}, deltas


def _pieces(text: str) -> list[str]:
    return [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]


def _event(kind: str, **fields: Any) -> bytes:  # noqa: ANN401 - any JSON values
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, **fields}))
