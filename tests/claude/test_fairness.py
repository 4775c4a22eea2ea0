from hypothesis import given
from hypothesis import strategies as st

from pipeline.claude.limiter import FairQueue

TICKETS, INVOICES = ("tickets", ""), ("invoices", "")


def serve(queue: FairQueue[str], count: int, weights: dict[str, float]) -> list[str]:
    served = []
    for _ in range(count):
        whose = queue.classes()[0]
        served.append(queue.pop(whose, weight=weights.get(whose[0], 1.0)))
    return served


def test_a_flood_of_one_stage_does_not_hold_up_another() -> None:
    queue: FairQueue[str] = FairQueue()
    for _ in range(1000):
        queue.push(TICKETS, "ticket")
    serve(queue, 500, {})
    for _ in range(3):
        queue.push(INVOICES, "invoice")
    assert serve(queue, 6, {}).count("invoice") == 3


def test_stages_share_by_what_their_requests_take_not_by_their_number() -> None:
    queue: FairQueue[str] = FairQueue()
    for _ in range(1000):
        queue.push(TICKETS, "ticket")
        queue.push(INVOICES, "invoice")
    served = serve(queue, 110, {"tickets": 1.0, "invoices": 10.0})
    assert served.count("invoice") == 10


def test_a_stage_that_was_idle_saves_up_no_claim() -> None:
    queue: FairQueue[str] = FairQueue()
    for _ in range(1000):
        queue.push(TICKETS, "ticket")
    serve(queue, 500, {})
    for _ in range(100):
        queue.push(INVOICES, "invoice")
    assert serve(queue, 100, {}).count("invoice") == 50


def test_what_has_waited_before_goes_first_and_in_its_own_order() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.push(TICKETS, "new")
    for number in range(3):
        queue.push(TICKETS, f"again {number}", first=True)
    queue.push(TICKETS, "newer")
    served = serve(queue, 5, {})
    assert served == ["again 0", "again 1", "again 2", "new", "newer"]


def test_the_oldest_of_what_goes_first_is_not_overtaken_for_ever() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.push(TICKETS, "again 0", first=True)
    for number in range(3):
        queue.push(TICKETS, f"again {number + 1}", first=True)
        assert serve(queue, 1, {}) == [f"again {number}"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.floats(0, 10)), max_size=60))
def test_nothing_is_lost_and_order_holds_within_a_stage(
    steps: list[tuple[str, bool, float]],
) -> None:
    queue: FairQueue[int] = FairQueue()
    expected: dict[str, list[int]] = {stage: [] for stage in "abc"}
    for number, (stage, pushes, weight) in enumerate(steps):
        if pushes:
            queue.push((stage, ""), number)
            expected[stage].append(number)
        elif queue.size:
            served = queue.classes()[0]
            item = queue.head(served)
            assert item == expected[served[0]].pop(0)
            assert queue.pop(served, weight=weight) == item
    assert queue.size == sum(map(len, expected.values()))
    assert all((stage in queue) == bool(left) for stage, left in expected.items())


def test_a_flood_of_one_tenant_does_not_hold_up_the_others_of_its_stage() -> None:
    queue: FairQueue[str] = FairQueue()
    for _ in range(1000):
        queue.push(("tickets", "loud"), "loud")
    serve(queue, 500, {})
    for tenant in "abc":
        queue.push(("tickets", tenant), tenant)
    assert sorted(serve(queue, 3, {})) == ["a", "b", "c"]
    assert "tickets" in queue


def test_tenants_that_come_and_go_are_not_remembered_for_ever() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(5000):
        queue.push(("tickets", str(number)), "")
        serve(queue, 1, {})
    assert len(queue._times) < 1100


def test_what_was_pushed_first_is_passed_over_where_another_tenant_of_its_stage_has_new_items() -> (
    None
):
    queue: FairQueue[str] = FairQueue()
    queue.push(("tickets", "a"), "again", first=True)
    queue.push(INVOICES, "new")
    assert not queue.is_passed_over(("tickets", "a"))
    queue.push(("tickets", "b"), "new")
    assert queue.is_passed_over(("tickets", "a"))
    assert not queue.is_passed_over(("tickets", "b"))
