"""What is masked never reaches a request, by whatever way it goes, and comes back in the answer."""

import asyncio
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import BaseModel, JsonValue

from pipeline.claude.responses import HttpReply
from pipeline.config import PrivacySettings, Settings
from pipeline.model.errors import NotMaskable
from pipeline.model.questions import Image, Part, Question, Text
from pipeline.model.records import Tier
from pipeline.privacy.masking import INVENTED, NOTE
from pipeline.testing import run_in_virtual_time
from pipeline.testing.fakes import FakeClient, message
from tests.claude.gateways import Watcher, opened

ADDRESS = re.compile(r"\[EMAIL_\d\]|[\w.]+@[\w.]+")


class Reading(BaseModel):
    address: str


SCHEMA: dict[str, JsonValue] = {"type": "object", "properties": {"address": {"type": "string"}}}


def asked(*parts: str | Part, stage: str = "tickets") -> Question[Reading]:
    texts = tuple(Text("body", part) if isinstance(part, str) else part for part in parts)
    return Question(stage, "Which address?\n", texts, Reading, SCHEMA, 256)


def first_address(request: dict[str, Any]) -> HttpReply:
    """Answers with the first address, or placeholder of one, of each event in the message."""
    texts = [block["text"] for block in request["messages"][0]["content"] if "text" in block]
    found = [ADDRESS.findall(text) for text in texts]
    addresses = [each[0] for each in found if each]
    schema = request["output_config"]["format"]["schema"]
    if "answers" in schema["properties"]:
        answers = [
            {"id": number, "answer": {"address": address}}
            for number, address in enumerate(addresses, start=1)
        ]
        return message({"answers": answers})
    return message({"address": addresses[0]})


def masked(**settings: Any) -> Settings:  # noqa: ANN401
    return Settings(privacy=PrivacySettings(mask=["email"], **settings))


def all_sent(client: FakeClient) -> str:
    return orjson.dumps(client.sent).decode()


@pytest.mark.parametrize("tier", list(Tier))
def test_neither_tier_sees_what_is_masked_and_the_answer_has_it(tier: Tier) -> None:
    async def main() -> None:
        client = FakeClient(first_address)
        async with opened(client, settings=masked()) as gateway:
            response = await gateway.ask(asked("I am anna@example.com"), tier)
        assert response.answer.address == "anna@example.com"
        assert "anna" not in all_sent(client)
        assert client.sent[0]["system"][0]["text"].startswith(f"Which address?\n\n{NOTE}".rstrip())

    run_in_virtual_time(main())


def test_without_masking_a_request_is_what_it_was() -> None:
    async def main() -> None:
        client = FakeClient(first_address)
        async with opened(client) as gateway:
            await gateway.ask(asked("I am anna@example.com"), Tier.HAIKU)
        assert "anna@example.com" in all_sent(client)
        assert "## Placeholders" not in all_sent(client)

    run_in_virtual_time(main())


def test_two_events_that_differ_in_what_is_masked_share_an_answer_and_keep_their_own_values() -> (
    None
):
    async def main() -> None:
        watcher, client = Watcher(), FakeClient(first_address, seconds=lambda: 1.0)
        async with opened(client, watcher, masked()) as gateway:
            both = await asyncio.gather(
                *(gateway.ask(asked(f"I am {who}@x.example"), Tier.HAIKU) for who in ("a", "bo"))
            )
            later = await gateway.ask(asked("I am cy@x.example"), Tier.HAIKU)
        assert [each.answer.address for each in both] == ["a@x.example", "bo@x.example"]
        assert later.answer.address == "cy@x.example"
        assert len(client.sent) == 1
        assert watcher.reuses == {"in_flight": 1, "memory": 1}

    run_in_virtual_time(main())


def test_what_is_kept_on_disk_has_placeholders_only(tmp_path: Path) -> None:
    async def main() -> None:
        settings = masked()
        claude = settings.claude.model_copy(update={"answer_cache": "disk", "state_dir": tmp_path})
        client = FakeClient(first_address)
        settings = settings.model_copy(update={"claude": claude})
        async with opened(client, settings=settings) as gateway:
            await gateway.ask(asked("I am anna@example.com"), Tier.HAIKU)

    asyncio.run(main())
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"[EMAIL_1]" in kept
    assert b"anna" not in kept


def test_events_that_share_a_request_are_restored_each_with_its_own() -> None:
    async def main() -> None:
        settings = masked()
        stages = settings.stages.model_copy(
            update={"tickets": settings.stages.tickets.model_copy(update={"events_per_request": 3})}
        )
        client = FakeClient(first_address)
        settings = settings.model_copy(update={"stages": stages})
        async with opened(client, settings=settings) as gateway:
            found = await asyncio.gather(
                *(gateway.ask(asked(f"{n}: I am u{n}@x.example"), Tier.HAIKU) for n in range(3))
            )
        assert [each.answer.address for each in found] == [f"u{n}@x.example" for n in range(3)]
        assert len(client.sent) == 1
        assert "x.example" not in all_sent(client)

    run_in_virtual_time(main())


def test_a_placeholder_that_the_model_made_up_is_a_doubt_each_time_the_answer_is_used() -> None:
    async def main() -> None:
        client = FakeClient(lambda _: message({"address": "[EMAIL_9]"}))
        async with opened(client, settings=masked()) as gateway:
            for _ in range(2):
                response = await gateway.ask(asked("I am anna@example.com"), Tier.HAIKU)
                assert response.signals == (INVENTED,)
        assert len(client.sent) == 1

    run_in_virtual_time(main())


def test_a_long_text_is_masked_like_a_short_one() -> None:
    async def main() -> None:
        client = FakeClient(first_address)
        async with opened(client, settings=masked()) as gateway:
            question = asked("anna@example.com " + "and so on, " * 5_000)
            response = await gateway.ask(question, Tier.HAIKU)
        assert response.answer.address == "anna@example.com"
        assert "anna" not in all_sent(client)

    asyncio.run(main())  # it is masked in a thread


def test_a_file_is_not_asked_about_where_files_are_refused() -> None:
    async def main() -> None:
        client = FakeClient(first_address)
        async with opened(client, settings=masked(files="refuse")) as gateway:
            with pytest.raises(NotMaskable):
                await gateway.ask(asked(Image("image/png", b"x"), "a@b.de"), Tier.HAIKU)
            lane = gateway.batch_lane()
            with pytest.raises(NotMaskable):
                lane.request(asked(Image("image/png", b"x")), Tier.HAIKU, "e-1")
        assert client.sent == []

    run_in_virtual_time(main())


def test_a_request_of_a_batch_and_its_id_know_nothing_of_what_is_masked() -> None:
    async def main() -> None:
        async with opened(FakeClient(first_address), settings=masked()) as gateway:
            lane = gateway.batch_lane()
            first, second = asked("I am anna@example.com"), asked("I am bo@example.com")
            assert b"anna" not in lane.request(first, Tier.HAIKU, "e-1").body
            assert lane.digest(first) == lane.digest(second) != first.digest
        async with opened(FakeClient(first_address)) as gateway:
            assert gateway.batch_lane().digest(first) == first.digest

    run_in_virtual_time(main())
