"""A second company's sixty labels, from `pipeline.toml` alone, through the simulated API.

What is measured here says nothing about any real model.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Settings
from pipeline.stream.records import Disposition
from tests.cascade.stand_ins import published
from tests.taxonomies.world import outcomes, settings_in

DATA = Path(__file__).parents[3] / "shared" / "data" / "tickets"
here_only = pytest.mark.skipif(not DATA.exists(), reason="the public data is not here")

SHOP = {
    "parcels": ("late", "lost", "damaged", "wrong_address", "tracking", "customs", "pickup"),
    "money": ("refund", "double_charge", "voucher", "invoice_copy", "price_change", "discount"),
    "account": ("password", "email_change", "two_factor", "newsletter", "deletion", "login_error"),
    "goods": ("size", "colour", "broken", "manual", "spare_part", "warranty"),
}


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text("utf-8").splitlines()]


def write_taxonomy(folder: Path, labels: Sequence[Mapping[str, Any]]) -> Settings:
    """A `pipeline.toml` of these labels and nothing else, read as a command reads it."""
    tables = (
        "[[stages.tickets.intents]]\n"
        + "".join(f"{key} = {json.dumps(value)}\n" for key, value in label.items())
        for label in labels
    )
    (folder / "pipeline.toml").write_text("\n".join(tables), "utf-8")
    return settings_in(folder)


def clinc(*, grouped: bool) -> list[dict[str, Any]]:
    labels: dict[str, dict[str, Any]] = {}
    for row in rows("clinc.fewshot.jsonl"):
        name = row["label"]
        label = labels.setdefault(
            name,
            {
                "name": name,
                "description": f"About {name.replace('_', ' ')}.",
                "examples": [],
                "queue": row["queue"],
                **({"group": row["queue"]} if grouped else {}),
            },
        )
        label["examples"].append(row["text"])
    return list(labels.values())


@here_only
@pytest.mark.parametrize("grouped", [True, False])
async def test_sixty_labels_are_asked_in_two_levels(
    grouped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = clinc(grouped=grouped)
    settings = write_taxonomy(tmp_path, labels)
    known = [row for row in rows("clinc.jsonl") if not row["oos"]][::2]
    events = [{"id": row["id"], "body": row["text"]} for row in known]

    ends = await outcomes(settings, "tickets", events, monkeypatch)

    assert len(labels) == 60
    assert {outcome.end for outcome in ends} == {Disposition.ENRICHED, Disposition.ESCALATED}
    queue_of = {label["name"]: label["queue"] for label in labels}
    right = 0
    for row, outcome in zip(known, ends, strict=True):
        record = published(outcome)
        result = record.get("result") or record["haiku_result"]
        assert result["queue"] == queue_of[result["intent"]]
        right += result["intent"] == row["label"]
    assert right / len(known) >= 0.4
    usages = [published(outcome)["usage"] for outcome in ends]
    assert all(usage["calls"] + usage["reused"] == 2 for usage in usages)
    assert sum(usage["cache_read_tokens"] for usage in usages) > sum(
        usage["cache_write_tokens"] for usage in usages
    )


async def test_a_teams_own_many_labels_end_in_its_own_queues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = [
        {"name": name, "group": group, "queue": f"team-{group}",
         "description": f"{group.title()}: {name.replace('_', ' ')}."}
        for group, names in SHOP.items() for name in names
    ]  # fmt: skip
    settings = write_taxonomy(tmp_path, labels)
    events = [
        {"id": "1", "body": "My parcel is late. Where is it, what does tracking say?"},
        {"id": "2", "body": "I want a refund of my money, the invoice shows a double charge."},
        {"id": "3", "body": "I forgot the password of my account and cannot log in."},
    ]

    ends = await outcomes(settings, "tickets", events, monkeypatch)

    assert len(labels) > 20
    records = [published(outcome) for outcome in ends]
    queues = [(record.get("result") or record["haiku_result"])["queue"] for record in records]
    assert queues == ["team-parcels", "team-money", "team-account"]
    assert all(record["usage"]["calls"] == 2 for record in records)


async def test_events_that_share_a_request_are_asked_in_two_levels_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = [
        {"name": name, "group": group, "description": f"{group.title()}: {name}."}
        for group, names in SHOP.items() for name in names
    ]  # fmt: skip
    settings = write_taxonomy(tmp_path, labels)
    settings.stages.tickets.events_per_request = 4
    events = [{"id": str(i), "body": f"My parcel {i} is late, says tracking."} for i in range(8)]

    ends = await outcomes(settings, "tickets", events, monkeypatch)

    records = [published(outcome) for outcome in ends]
    found = {(record.get("result") or record["haiku_result"])["intent"] for record in records}
    assert found <= set(SHOP["parcels"])
    assert sum(record["usage"]["calls"] for record in records) < 2 * len(events)
