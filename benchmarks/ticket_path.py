"""What one accepted ticket passes in the code that is imported here: files and functions.

`benchmarks.measure` runs this file in a process of its own for each commit, with that commit's
`pipeline` on the path. So it imports nothing of this repository by a name that a re-arrangement
changes: `pipeline.testing` and what `pipeline.app` itself imports. Prints one JSON object.
"""

import asyncio
import json
import sys
import threading
from collections.abc import Sequence
from contextlib import AsyncExitStack
from importlib import import_module
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from pydantic import BaseModel

TICKETS = 3
"""The first warms the prompt cache and whatever is made once; the last is the one that counts."""
_WITHIN = 30.0


class Passed:
    """The code of a package that runs between `begin` and `end`, in every thread.

    Args:
        package: The folder of the package.
        without: Folders and files in it that do not count.
    """

    def __init__(self, package: Path, without: Sequence[Path]) -> None:
        self._package = f"{package}/"
        self._without = tuple(map(str, without))
        self._seen: set[CodeType] = set()

    def begin(self) -> None:
        """Note each function that is entered from now on."""
        threading.setprofile(self._note)
        sys.setprofile(self._note)

    def end(self) -> None:
        """Note no more."""
        sys.setprofile(None)
        threading.setprofile(None)

    @property
    def functions(self) -> set[str]:
        """Named functions and methods; what is written within one belongs to it."""
        return {
            f"{self._file(code)}:{code.co_qualname}"
            for code in self._ours()
            if not code.co_name.startswith("<")
        }

    @property
    def files(self) -> set[str]:
        """The files that they are in, from the package on."""
        return {self._file(code) for code in self._ours()}

    def _ours(self) -> list[CodeType]:
        return [
            code
            for code in self._seen
            if code.co_filename.startswith(self._package)
            and not code.co_filename.startswith(self._without)
        ]

    def _file(self, code: CodeType) -> str:
        return code.co_filename.removeprefix(self._package)

    def _note(self, frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            self._seen.add(frame.f_code)


async def passed_by_a_ticket() -> Passed:
    """Let tickets be accepted one after another, and note what the last one passes."""
    # By name at run time: what each of them is called and where it lives differs by commit.
    app: Any = import_module("pipeline.app")
    testing: Any = import_module("pipeline.testing")
    fakes: Any = sys.modules[testing.FakeClient.__module__]

    settings = app.Settings()
    settings.stages.tickets.audit_share = 0
    topics = import_module("pipeline.kafka.topics").TopicNames.under(settings)
    broker = testing.MemoryBroker()
    for name in topics.of(("tickets", app.ESCALATIONS)):
        broker.create_topic(name)
    changed = asyncio.Event()
    broker.watch(changed)
    metrics = app.instruments(settings, ["tickets"], delivery="exactly_once").metrics
    answer = {
        "quote": "charged twice",
        "intent": "billing",
        "runner_up": None,
        "several_matters": False,
        "priority": "high",
        "language": "en",
        "summary": "The customer was charged twice and wants a refund.",
        "confidence": 0.97,
        "unclear": False,
    }
    usage = {"input_tokens": 70, "cache_read_input_tokens": 1_800, "output_tokens": 120}
    client = testing.FakeClient(
        lambda _: fakes.message(answer, model=settings.models.haiku.model, usage=usage)
    )
    in_memory = Path(sys.modules[testing.MemoryBroker.__module__].__file__ or "").parent
    passed = Passed(Path(app.__file__).parent, [in_memory, Path(fakes.__file__)])
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(
            app.Gateway(settings, client=client, observer=metrics)
        )
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        stack.callback(stop.set)
        engine = app.App(settings, ["tickets"]).engine(
            "tickets", gateway, testing.MemoryBrokers(broker), metrics, None, throttle=None
        )
        tasks.create_task(engine.run(stop))
        await _quiet()
        for number in range(1, TICKETS + 1):
            body = f"I was charged twice for order {number}, please send one payment back."
            value = json.dumps({"id": f"T-{number}", "body": body}).encode()
            if number == TICKETS:
                passed.begin()
            broker.publish(topics.raw("tickets"), value, key=f"customer-{number}".encode())
            async with asyncio.timeout(_WITHIN):
                while _committed(broker, topics.enriched("tickets")) < number:
                    changed.clear()
                    await changed.wait()
            await _quiet()
        passed.end()
    return passed


def _committed(broker: Any, topic: str) -> int:  # noqa: ANN401 - see above
    return sum(map(len, broker.committed_records(topic).values()))


async def _quiet() -> None:
    """Let everything that is due in the next moment run: joining the group, or tidying up."""
    await asyncio.sleep(0.2)


def settings_leaves(model: type[BaseModel]) -> int:
    """The settings of a tree that hold a value and no further settings."""
    kinds = [field.annotation for field in model.model_fields.values()]
    return sum(
        settings_leaves(kind) if isinstance(kind, type) and issubclass(kind, BaseModel) else 1
        for kind in kinds
    )


def main() -> None:
    """Trace, count and print."""
    passed = asyncio.run(passed_by_a_ticket())
    settings: Any = import_module("pipeline.app").Settings
    found = {
        "files": sorted(passed.files),
        "functions": sorted(passed.functions),
        "settings": settings_leaves(settings),
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
