"""A document of more tokens than are cheap at once, through the simulated API."""

from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.stages.checks.text_quality import about_tokens
from tests.cascade.stand_ins import published
from tests.taxonomies.world import outcomes, settings_in

CHAPTERS = (
    "The council discussed the new bridge over the river Alme. ",
    "Costs rose to 4,200,000 euros because steel became dearer. ",
    "Ms Okafor will present three offers by 12 March. ",
    "Residents asked for a footpath on the northern side. ",
)
CHEAP = {
    "input_tokens": Decimal("0.10"),
    "cache_write_tokens": Decimal("0.125"),
    "cache_read_tokens": Decimal("0.01"),
    "output_tokens": Decimal("0.50"),
}
"""US dollars a million tokens of Haiku 5.5, where the prompt has 100,000 at most."""


async def test_every_call_stays_in_the_cheap_price_band(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "\n\n".join(
        " ".join(f"{line.strip()[:-1]} (item {i})." for line in CHAPTERS) for i in range(1300)
    )
    settings = settings_in(tmp_path)
    assert about_tokens(text) > 110_000

    (outcome,) = await outcomes(
        settings, "documents", [{"id": "D-1", "text": text, "max_sentences": 4}], monkeypatch
    )

    record = published(outcome)
    usage = record["usage"]
    assert usage["calls"] == 5
    assert usage["input_tokens"] > 100_000
    cheap = sum(price * usage[name] for name, price in CHEAP.items()) / 1_000_000
    assert Decimal(usage["cost_usd"]) == cheap
    result = record.get("result") or record["haiku_result"]
    assert result["summary"]
    assert {doubt["code"] for doubt in record.get("doubts", [])} <= {"low_confidence"}
