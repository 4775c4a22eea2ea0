"""What a workload costs, from the command line."""

import orjson
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.model.errors import UsageError


def rows(*arguments: str) -> list[dict[str, object]]:
    done = CliRunner().invoke(app, ["cost", "--json", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    found: list[dict[str, object]] = orjson.loads(done.stdout)
    return found


def test_a_cascade_costs_haiku_and_the_escalated_share_of_sonnet() -> None:
    workload = ("--events", "1000000", "--input-tokens", "200", "--static-tokens", "0")
    found = {
        row["way"]: row["usd_per_month"]
        for row in rows(*workload, "--output-tokens", "0", "--escalated", "0.1", "--uncached")
    }

    # 200 million tokens at 0.10, 2 and 4 dollars a million.
    assert found == {"haiku": "20.00", "sonnet": "400.00", "opus": "800.00", "cascade": "60.00"}


def test_own_prices_and_the_band_of_long_prompts_are_in_the_figures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workload = ("--events", "1000", "--static-tokens", "0", "--output-tokens", "0", "--uncached")
    long = rows(*workload, "--input-tokens", "200000")
    assert long[0]["usd_per_month"] == "100.00"
    kinds = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")
    own = {"claude-haiku-5-5": dict.fromkeys(kinds, "3")}
    monkeypatch.setenv("PIPELINE_CLAUDE__PRICES", orjson.dumps(own).decode())
    assert rows(*workload, "--input-tokens", "1000")[0]["usd_per_month"] == "3.00"


def test_that_a_batch_is_promised_no_prompt_cache_is_said() -> None:
    assert all("no hit" in str(row["note"]) for row in rows("--batch"))
    warm = rows("--cached", "--events", "10000000")
    assert {row["note"] for row in [*rows("--batch", "--uncached"), *warm]} == {""}


def test_the_published_figures_are_reproduced_and_the_wrong_one_is_named() -> None:
    found = rows("--published")

    assert [row["haiku"] for row in found] == ["160.00", "80.00", "600.00", "800.00"]
    remarks = [row["remark"] for row in found]
    assert "$600" in str(remarks[0])
    assert remarks[1:] == ["", "", ""]


def test_a_workload_that_cannot_be_is_wrong_use() -> None:
    impossible = ["cost", "--input-tokens", "10", "--static-tokens", "20"]
    with pytest.raises(UsageError, match="static part"):
        CliRunner().invoke(app, impossible, catch_exceptions=False)


def test_what_an_image_costs_is_told_for_each_size_that_the_models_see() -> None:
    found = rows("--image", "2480x3508")
    edges = {row["model"]: row["long_edge"] for row in found}
    assert edges == {"claude-haiku-5-5": 2576, "claude-sonnet-5-5": 2576}
    tokens = [int(str(row["tokens"])) for row in found if row["model"] == "claude-haiku-5-5"]
    assert tokens == sorted(tokens)
    # 4,784 tokens at most, of ten cents a million.
    assert float(str(found[len(tokens) - 1]["usd_per_thousand"])) == pytest.approx(0.4784, rel=0.03)


def test_a_model_that_sees_less_is_sent_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_MODELS__HAIKU", "claude-haiku-4-5")
    found = [row for row in rows("--image", "4000x3000") if row["model"] == "claude-haiku-4-5"]
    assert [row["long_edge"] for row in found] == [1024, 1568]
    assert all(int(str(row["tokens"])) <= 1568 for row in found)


@pytest.mark.parametrize("size", ["2480", "0x5", "10x10x10", "1000x900000"])
def test_an_image_that_cannot_be_sent_is_wrong_use(size: str) -> None:
    with pytest.raises(UsageError, match=r"size of an image|parts"):
        CliRunner().invoke(app, ["cost", "--image", size], catch_exceptions=False)


def test_a_region_costs_what_it_costs_in_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    workload = ("--events", "1000000", "--input-tokens", "200", "--static-tokens", "0")
    monkeypatch.setenv("PIPELINE_MODELS__HAIKU__INFERENCE_GEO", "us")
    found = {
        row["way"]: row["usd_per_month"]
        for row in rows(*workload, "--output-tokens", "0", "--uncached")
    }
    assert (found["haiku"], found["sonnet"]) == ("22.00", "400.00")
