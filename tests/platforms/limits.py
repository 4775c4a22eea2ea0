"""The limit on images of Bedrock and Google Cloud, which is half of Anthropic's own."""

from collections.abc import Mapping
from typing import Any

MAX_BASE64 = 5 * 1024 * 1024
"""Of one image; 10 MB on Anthropic's own API, which the simulated one holds to."""


def check_images(body: Mapping[str, Any]) -> str | None:
    """What is wrong with the first image that is too large, if one is."""
    for at, message in enumerate(body.get("messages") or ()):
        content = message.get("content")
        for index, block in enumerate(content if isinstance(content, list) else ()):
            encoded = (block.get("source") or {}).get("data", "")
            if block.get("type") == "image" and len(encoded) > MAX_BASE64:
                return (
                    f"messages.{at}.content.{index}.image.source.base64: image exceeds 5 MB"
                    f" maximum: {len(encoded)} bytes > {MAX_BASE64} bytes"
                )
    return None
