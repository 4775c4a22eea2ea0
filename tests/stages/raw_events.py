"""One right raw event of each stage, as a publisher would write it."""

import base64
import json

from pydantic import JsonValue

from tests.stages.making import picture

_FIELDS: dict[str, dict[str, JsonValue]] = {
    "tickets": {"subject": "Refund", "body": "My card was charged twice, please refund."},
    "invoices": {"text": "ACME Ltd\nInvoice A-7 of 2025-01-31\nTotal EUR 12.50"},
    "documents": {"text": "Ann will send 250 scanners to Oslo by Friday. Bo disagreed."},
    "requests": {"query": "Write a function that adds two numbers."},
    "code": {"language": "python", "source": "def add(left, right=0):\n    return left + right\n"},
    "texts": {"text": "hi pls   call 020 7946 0417 or ann@example.com on 12/11/2026"},
    "images": {
        "file": {"media_type": "image/png", "data": base64.b64encode(picture()).decode("ascii")}
    },
}

RAW: dict[str, bytes] = {
    name: json.dumps({"id": "evt-000017", "extra": {"kept": True}, **fields}).encode()
    for name, fields in _FIELDS.items()
}
