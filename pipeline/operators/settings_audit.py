"""Which settings a process starts with, on record in the topic `audit` where they changed.

What is compared are the settings that are not at their defaults, as the last start of the same
stages wrote them. Nothing secret is in it: passwords are not, texts that are long are hashed, and
of an address the part that may hold a password is left out. Settings that only say where a process
runs are not looked at, so that replicas have the same.
"""

import getpass
import re
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

import orjson
from pydantic import BaseModel

from pipeline.config import Settings
from pipeline.kafka.reader import TopicReader
from pipeline.model.records import Audit, Unusable, read_record
from pipeline.operators.audit import AuditedCommand
from pipeline.stream.records import Outgoing

COMMAND = "run"
DID = "started"
_OF_A_PROCESS = re.compile(
    r"kafka\.(client_id|group_instance_id)|claude\.state_dir|(http|log|tracing)\..*"
)
_PASSWORD = re.compile(r"(?<=://)[^/@\s\"]+@")
_SHOWN = 100
"""Characters of a value; of a longer one there is its hash."""
_UNSET = "(default)"


def changed_from_defaults(settings: Settings) -> dict[str, str]:
    """Each setting that is not at its default, by its full name, without anything secret."""
    fields = type(settings).model_fields
    defaults = {
        name: field.get_default(call_default_factory=True) for name, field in fields.items()
    }
    default = dict(_flat("", {name: _plain(value) for name, value in defaults.items()}))
    own = dict(_flat("", settings.model_dump(mode="json")))
    return {
        name: _shown(value)
        for name, value in sorted(own.items())
        if value != default.get(name) and not _OF_A_PROCESS.fullmatch(name)
    }


async def audit_start(
    settings: Settings,
    stages: Sequence[str],
    topic: str,
    *,
    read: TopicReader,
    publish: Callable[[Outgoing], Awaitable[object]],
    now: Callable[[], datetime],
) -> bool:
    """Publish what changed since the last start of these stages; returns whether anything did.

    Raises:
        PipelineError: The topic is not there, or the brokers do not bring or take it.
    """
    mine, served = changed_from_defaults(settings), sorted(stages)
    last: Audit | None = None
    async with read([topic]) as records:
        async for record in records:
            try:
                entry = read_record(Audit, record.value)
            except Unusable:
                continue
            is_start = entry.command == COMMAND and entry.settings is not None
            if is_start and entry.selected.get("stages") == served:
                last = entry if last is None or entry.at >= last.at else last
    before = {} if last is None or last.settings is None else last.settings
    if last is not None and before == mine:
        return False
    changes = {
        name: [f"{before.get(name, _UNSET)} -> {mine.get(name, _UNSET)}"]
        for name in sorted(before.keys() | mine.keys())
        if before.get(name) != mine.get(name)
    }
    # Replicas that start together write the same, and are one line of `pipeline audit list`.
    since = "" if last is None else last.at.isoformat()
    run = sha256(orjson.dumps([since, served, mine])).hexdigest()[:16]
    command = AuditedCommand(topic, _who(), COMMAND, DID, {"stages": served, **changes}, run)
    await publish(command.entry(1, at=now(), about="", settings=mine))
    return True


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "a process"
    return f"{user} on {socket.gethostname()}"


def _plain(value: object) -> Any:  # noqa: ANN401 - as JSON has it
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def _flat(prefix: str, tree: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _flat(f"{prefix}{name}.", value)
        else:
            yield f"{prefix}{name}", value


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    if len(text) > _SHOWN:
        return f"sha256:{sha256(text.encode()).hexdigest()[:16]}"
    return _PASSWORD.sub("", text)
