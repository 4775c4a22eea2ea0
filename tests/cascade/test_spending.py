"""Processes that share a budget over a log; the log is a list, and time is held."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

import pytest
from aiokafka.errors import KafkaTimeoutError
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cascade.spending import SharedBudget
from pipeline.claude.budget import Budget, Caps, TenantBudgets, TenantLimits
from pipeline.stream.records import Received

NOON = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)
CAP = Decimal(10)
CALL = Decimal(1)
"""The most that a call may cost."""


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


class Log:
    """What is written is read by all in order, as far as `deliver` was called."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.records: list[Received] = []
        self.processes: dict[str, tuple[Process, int]] = {}
        self.down = False

    async def send(self, key: bytes, value: bytes | None) -> None:
        if self.down:
            raise KafkaTimeoutError
        at = len(self.records)
        self.records.append(Received("budget", 0, at, key, value, (), NOON, NOON))

    def deliver(self, name: str, most: int = 1 << 30) -> None:
        process, position = self.processes[name]
        new = self.records[position : position + most]
        self.processes[name] = process, position + len(new)
        for record in new:
            process.shared.read(record)

    def start(
        self, name: str, *, tenants: TenantBudgets | None = None, **stages: Decimal
    ) -> "Process":
        process = Process(self, name, stages, tenants)
        self.processes[name] = process, 0
        process.budget.share(lambda: None)
        return process


class Process:
    def __init__(
        self, log: Log, name: str, stages: dict[str, Decimal], tenants: TenantBudgets | None
    ) -> None:
        caps = {stage: {"hour": None, "day": cap} for stage, cap in stages.items()}
        overall: Caps = {"hour": None, "day": CAP}
        self.budget = Budget(overall, caps, tenants, now=log.clock)  # type: ignore[arg-type]
        self.shared = SharedBudget(self.budget, log.send, log.clock, process=name)
        self.log, self.name = log, name

    async def claim(self, *, tick: bool = False, last: bool = False) -> None:
        """Write, and read all there is."""
        await self.shared.write(self.budget.claims(tick=tick, last=last))
        self.log.deliver(self.name)

    def may_call(self, stage: str = "tickets", tenant: str = "") -> bool:
        return self.budget.wait(stage, CALL, tenant=tenant) == 0

    def call(self, stage: str = "tickets") -> None:
        self.budget.reserve(stage, CALL)

    def answered(self, usd: Decimal, stage: str = "tickets") -> None:
        self.budget.add(stage, usd)
        self.budget.release(stage, CALL)


async def test_nothing_is_spent_before_it_is_granted() -> None:
    log = Log()
    one = log.start("one")
    assert not one.may_call()
    await one.shared.write(one.budget.claims())
    assert not one.may_call()
    log.deliver("one")
    assert one.may_call()


async def test_two_that_claim_the_last_money_at_once_are_not_both_granted_it() -> None:
    log = Log()
    one, two = log.start("one"), log.start("two")
    one.budget.add("tickets", CAP - CALL)
    await one.claim()
    log.deliver("two")
    for each in (one, two):
        assert not each.may_call()
    for each in (one, two):
        await each.shared.write(each.budget.claims())
    for each in (one, two):
        log.deliver(each.name)
    assert (one.may_call(), two.may_call()) == (True, False)


async def test_the_last_money_of_a_tenant_is_granted_once_and_others_go_on() -> None:
    log, tenants = Log(), TenantBudgets(TenantLimits({"day": 3 * CALL}))
    one, two = log.start("one", tenants=tenants), log.start("two", tenants=tenants)
    one.budget.add("tickets", 2 * CALL, tenant="acme")
    await one.claim()
    log.deliver("two")
    for each in (one, two):
        assert not each.may_call(tenant="acme")
        assert not each.may_call(tenant="other")
    for each in (one, two):
        await each.shared.write(each.budget.claims())
    for each in (one, two):
        log.deliver(each.name)
    assert (one.may_call(tenant="acme"), two.may_call(tenant="acme")) == (True, False)
    assert (one.may_call(tenant="other"), two.may_call(tenant="other")) == (True, False)
    one.budget.reserve("tickets", CALL, tenant="acme")
    one.budget.add("tickets", CALL, tenant="acme")
    one.budget.release("tickets", CALL, tenant="acme")
    await one.claim(tick=True)
    log.deliver("two")
    assert list(two.budget.tenants_used_up()) == ["tenant/acme"]
    assert two.budget.spent("tickets", "day") >= 3


async def test_what_one_spent_or_claimed_before_it_was_killed_stays_counted() -> None:
    log = Log()
    dead = log.start("dead")
    assert not dead.may_call()
    await dead.claim()
    for _ in range(8):
        assert dead.may_call()
        dead.call()
    later = log.start("later")
    await later.claim()
    assert later.budget.spent("tickets", "day") >= 8
    assert not later.may_call()
    await later.claim()
    calls = 0
    while later.may_call():
        later.call()
        calls += 1
    assert calls <= 2


async def test_what_was_claimed_and_not_spent_is_given_back_at_the_end_and_when_idle() -> None:
    log = Log()
    one, two = log.start("one"), log.start("two")
    one.may_call()
    await one.claim()
    one.call()
    one.answered(Decimal("0.5"))
    await one.claim(last=True)
    log.deliver("two")
    assert two.budget.spent("tickets", "day") == Decimal("0.5")

    two.may_call()
    await two.claim()
    for _ in range(3):
        await two.claim(tick=True)
    log.deliver("one")
    assert one.budget.spent("tickets", "day") == Decimal("0.5")


async def test_a_budget_that_others_have_used_up_says_so_until_the_next_day() -> None:
    log = Log()
    one, two = log.start("one"), log.start("two")
    one.budget.add("tickets", CAP)
    await one.claim()
    log.deliver("two")
    used_up = two.budget.used_up("invoices")
    assert used_up is not None
    assert used_up.until == datetime(2026, 11, 23, tzinfo=UTC)
    log.clock.now = used_up.until
    assert two.budget.used_up("invoices") is None
    assert two.budget.spent("tickets", "day") == 0
    assert two.budget.stages() == ["tickets"]


async def test_a_stages_own_budget_is_shared_and_closes_it_alone() -> None:
    log = Log()
    one, two = log.start("one", tickets=Decimal(2)), log.start("two", tickets=Decimal(2))
    one.budget.add("tickets", Decimal(2))
    await one.claim()
    await two.claim()
    assert two.budget.used_up("tickets") is not None
    assert two.budget.used_up("invoices") is None
    two.may_call("invoices")
    await two.claim()
    assert two.may_call("invoices")


async def test_the_hours_of_a_day_add_up_over_a_restart() -> None:
    log = Log()
    one = log.start("one")
    for _ in range(3):
        one.budget.add("tickets", Decimal(3))
        await one.claim()
        log.clock.now += timedelta(hours=1)
    await one.claim(last=True)
    two = log.start("two")
    log.deliver("two")
    assert two.budget.spent("tickets", "day") == 9
    assert two.budget.spent("tickets", "hour") == 0


async def test_an_hour_that_ended_gives_back_what_was_claimed_of_it() -> None:
    log = Log()
    one = log.start("one")
    one.may_call()
    await one.claim()
    log.clock.now += timedelta(hours=1)
    assert not one.may_call(), "the new hour has a claim of its own"
    await one.claim()
    assert one.may_call()
    two = log.start("two")
    log.deliver("two")
    assert two.budget.spent("tickets", "day") == 8


async def test_a_claim_that_was_given_up_grants_nothing_when_it_is_read_after_all() -> None:
    log = Log()
    one, two = log.start("one"), log.start("two")
    one.may_call()
    await one.shared.write(one.budget.claims())
    for _ in range(2):
        one.budget.claims(tick=True)
    await one.shared.write(one.budget.claims())
    log.deliver("one")
    log.deliver("two")
    assert two.budget.spent("tickets", "day") == 0
    assert not one.may_call()


async def test_what_could_not_be_written_is_written_again() -> None:
    log = Log()
    one, two = log.start("one"), log.start("two")
    one.budget.add("tickets", CALL)
    log.down = True
    with pytest.raises(KafkaTimeoutError):
        await one.claim()
    log.down = False
    await one.claim()
    log.deliver("two")
    assert two.budget.spent("tickets", "day") == CALL


async def test_nothing_is_written_where_nothing_changed() -> None:
    log = Log()
    one = log.start("one")
    one.budget.add("tickets", CALL)
    for _ in range(5):
        await one.claim(tick=True)
    # The first claims more ahead, the second gives it back.
    assert len(log.records) == 2


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"x/2026-11-22T12:00:00+00:00", b"junk"),
        (b"x/2026-11-22T12:00:00+00:00", b'{"schema":"claim/1","number":1,"usd":{"a":"-5"}}'),
        (b"x/2026-11-22T12:00:00+00:00", b'{"schema":"claim/1","number":1,"usd":{"a":"NaN"}}'),
        (b"\xff", b'{"schema":"claim/1","number":1,"usd":{"a":"5"}}'),
        (None, b'{"schema":"claim/1","number":1,"usd":{"a":"5"}}'),
        (b"x/2026-11-22T12:00:00", b'{"schema":"claim/1","number":1,"usd":{"a":"5"}}'),
    ],
)
async def test_what_is_no_claim_counts_nothing(key: bytes | None, value: bytes) -> None:
    log = Log()
    one = log.start("one")
    log.records.append(Received("budget", 0, 0, key, value, (), NOON, NOON))
    log.deliver("one")
    assert one.budget.stages() == []


async def test_claims_of_past_days_are_removed_at_a_start() -> None:
    log = Log()
    old = log.start("old")
    old.budget.add("tickets", CALL)
    await old.claim()
    key = log.records[0].key
    log.clock.now += timedelta(days=3)
    new = log.start("new")
    with reading(log, "new"):
        await new.shared.begin(within=1)
    assert [record.key for record in log.records if record.value is None] == [key]


async def test_a_process_that_cannot_read_what_it_wrote_does_not_begin() -> None:
    log = Log()
    one = log.start("one")
    with pytest.raises(TimeoutError):
        await one.shared.begin(within=0.01)


async def test_a_call_that_waits_has_its_claim_written_at_once() -> None:
    log = Log()
    one = log.start("one")
    with reading(log, "one"):
        await one.shared.begin(within=1)
        running = asyncio.create_task(one.shared.run())
        assert not one.may_call()
        async with asyncio.timeout(0.5):
            while not one.may_call():  # noqa: ASYNC110 - the state of a budget
                await asyncio.sleep(0)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


@contextmanager
def reading(log: Log, name: str) -> Iterator[None]:
    """Deliver to a process all the time."""

    async def read() -> None:
        while True:
            log.deliver(name)
            await asyncio.sleep(0)

    task = asyncio.create_task(read())
    try:
        yield
    finally:
        task.cancel()


@given(seed=st.integers(0, 2**32), processes=st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_whoever_dies_when_the_budget_and_one_call_is_the_most_that_is_spent(
    seed: int, processes: int
) -> None:
    async def main() -> None:
        random, log = Random(seed), Log()
        started = 0
        paid = Decimal(0)
        under_way: dict[str, list[Decimal]] = {}

        def start() -> None:
            nonlocal started
            started += 1
            log.start(f"p{started}", invoices=Decimal(4))
            under_way[f"p{started}"] = []

        for _ in range(processes):
            start()
        for step in range(400):
            name = random.choice(sorted(under_way))
            process, calls = log.processes[name][0], under_way[name]
            stage = random.choice(("tickets", "invoices"))
            match random.randrange(8):
                case 0 | 1:
                    await process.shared.write(process.budget.claims(tick=random.random() < 0.3))
                case 2 | 3 | 4:
                    log.deliver(name, random.randrange(1, 6))
                case 5 | 6 if process.may_call(stage):
                    process.call(stage)
                    # It is billed when it is sent, whatever becomes of the process.
                    cost = CALL * random.randrange(10, 101) / 100
                    paid += cost
                    calls.append(cost)
                    process.answered(calls.pop(), stage) if random.random() < 0.5 else None
                case 7 if step % 10 == 0:
                    del under_way[name], log.processes[name]
                    start()
            assert paid <= CAP + CALL

    asyncio.run(main())
