"""Workers are kept running, and one signal drains them all."""

import asyncio
import signal

from pipeline.workers.fleet import RestartPolicy, Supervisor

POLICY = RestartPolicy(first=1, longest=4, healthy_after=60)


class FakeProcess:
    """Ends when a test says so, or on the signals it obeys."""

    def __init__(self, pid: int, *, obeys_sigterm: bool = True) -> None:
        self.pid = pid
        self.signals: list[int] = []
        self._obeys_sigterm = obeys_sigterm
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def wait(self) -> int:
        return await asyncio.shield(self._code)

    def end(self, code: int) -> None:
        self._code.set_result(code)

    def send_signal(self, number: int) -> None:
        if self._code.done():
            raise ProcessLookupError
        self.signals.append(number)
        if number == signal.SIGKILL:
            self.end(-number)
        elif self._obeys_sigterm:
            self.end(0)


class Machine:
    """Spawns fake processes; a test can wait until each has started."""

    def __init__(self, *, obeys_sigterm: bool = True) -> None:
        self._obeys_sigterm = obeys_sigterm
        self.started: asyncio.Queue[tuple[int, FakeProcess]] = asyncio.Queue()
        self.delays: list[float] = []
        self.refusals = 0
        self._pid = 100

    async def spawn(self, index: int) -> FakeProcess:
        if self.refusals:
            self.refusals -= 1
            raise BlockingIOError("Resource temporarily unavailable")
        self._pid += 1
        process = FakeProcess(self._pid, obeys_sigterm=self._obeys_sigterm)
        self.started.put_nowait((index, process))
        return process

    async def sleep(self, seconds: float) -> None:
        self.delays.append(seconds)

    def supervisor(self, workers: int, *, stop_within: float = 10) -> Supervisor:
        return Supervisor(
            self.spawn,
            workers,
            policy=POLICY,
            stop_within=stop_within,
            clock=lambda: 0.0,
            sleep=self.sleep,
        )


async def test_a_worker_that_dies_is_started_again_after_its_backoff() -> None:
    machine, stop = Machine(), asyncio.Event()
    supervisor = machine.supervisor(1)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(supervisor.run(stop))
        for _ in range(3):
            _, process = await machine.started.get()
            process.end(-signal.SIGKILL)
        await machine.started.get()
        stop.set()

    assert running.result() == 0
    assert machine.delays == [1, 2, 4]
    assert machine.started.empty()  # it was started four times


async def test_a_worker_that_cannot_be_started_is_tried_again_and_costs_no_other_one() -> None:
    machine, stop = Machine(), asyncio.Event()
    machine.refusals = 2
    async with asyncio.TaskGroup() as group:
        running = group.create_task(machine.supervisor(2).run(stop))
        processes = [(await machine.started.get())[1] for _ in range(2)]
        stop.set()

    assert running.result() == 0
    assert machine.delays == [1, 1]
    assert [process.signals for process in processes] == [[signal.SIGTERM]] * 2


async def test_a_worker_that_ends_while_it_is_asked_to_is_no_error() -> None:
    machine, stop = Machine(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(machine.supervisor(1).run(stop))
        _, process = await machine.started.get()
        process.end(0)
        stop.set()

    assert running.result() == 0
    assert process.signals == []


async def test_one_stop_drains_every_worker() -> None:
    machine, stop = Machine(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(machine.supervisor(3).run(stop))
        processes = [(await machine.started.get())[1] for _ in range(3)]
        stop.set()

    assert running.result() == 0
    assert [process.signals for process in processes] == [[signal.SIGTERM]] * 3


async def test_a_worker_that_does_not_drain_in_time_is_killed_and_the_exit_code_says_so() -> None:
    machine, stop = Machine(obeys_sigterm=False), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(machine.supervisor(1, stop_within=0.01).run(stop))
        _, process = await machine.started.get()
        stop.set()

    assert running.result() == 1
    assert process.signals == [signal.SIGTERM, signal.SIGKILL]


async def test_wrong_use_is_not_repeated_but_ends_all() -> None:
    machine, stop = Machine(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(machine.supervisor(2).run(stop))
        _, first = await machine.started.get()
        _, second = await machine.started.get()
        first.end(2)

    assert running.result() == 2
    assert second.signals == [signal.SIGTERM]
    assert machine.delays == []


async def test_cancellation_leaves_no_worker_behind() -> None:
    machine = Machine(obeys_sigterm=False)
    running = asyncio.ensure_future(machine.supervisor(1).run(asyncio.Event()))
    _, process = await machine.started.get()
    running.cancel()
    await asyncio.wait([running])

    assert running.cancelled()
    assert process.signals == [signal.SIGKILL]
