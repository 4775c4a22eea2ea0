"""`make measure` counts what it says it counts."""

from benchmarks.measure import ROOT, measures_of


async def test_an_accepted_ticket_is_followed_through_the_code_of_this_checkout() -> None:
    found = await measures_of(ROOT)

    assert found.files == len(list((ROOT / "pipeline").rglob("*.py")))
    assert 10 < found.files_of_a_ticket < found.functions_of_a_ticket
    assert found.settings > 0
