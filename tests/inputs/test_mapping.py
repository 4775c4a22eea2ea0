"""What a stage gets of records of any shape."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cascade.reading import adapter_of
from pipeline.config import Settings
from pipeline.inputs.adapter import Adapted, Adapter, PassedOver
from pipeline.inputs.records import Document, InputRecord
from pipeline.model.errors import InvalidEvent, UsageError
from pipeline.model.records import DeadLetterReason
from pipeline.stages.api import RawEvent, build_stages

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
TICKET = {
    "ticket": {
        "id": 4711, "subject": "Broken", "description": "It does not start.", "status": "new",
        "requester": {"email": "a@example.org"}, "tags": ["billing", "vip"],
    },
    "account": 12,
}  # fmt: skip
STAGES = build_stages(Settings().stages)
MAP = {"id": "ticket.id", "subject": "ticket.subject", "body": "ticket.description"}


def record(value: object, *, key: bytes | None = b"k", **headers: bytes) -> InputRecord:
    content = value if isinstance(value, bytes) else orjson.dumps(value)
    return InputRecord("desk", key, content, headers, NOON)


def adapter(stage: str = "tickets", **table: object) -> Adapter:
    settings = Settings.model_validate({"stages": {stage: table}})
    made = adapter_of(settings, build_stages(settings.stages)[stage])
    assert made is not None
    return made


def event_of(made: Adapter, given: InputRecord, stage: str = "tickets") -> RawEvent:
    """What the stage parses."""
    adapted = made.adapt(given, None)
    assert isinstance(adapted, Adapted)
    event: RawEvent = STAGES[stage].parse(adapted.value, key=given.key, headers=adapted.headers)
    return event


def fields_of(made: Adapter, value: object, **headers: bytes) -> dict[str, Any]:
    adapted = made.adapt(record(value, **headers), None)
    assert isinstance(adapted, Adapted)
    found: dict[str, Any] = orjson.loads(adapted.value)
    return found


def outcome(read: Callable[[], RawEvent]) -> RawEvent | DeadLetterReason:
    try:
        return read()
    except InvalidEvent as invalid:
        return invalid.reason


def refusal(made: Adapter, value: object) -> str:
    with pytest.raises(InvalidEvent) as refused:
        made.adapt(record(value), None)
    assert refused.value.reason is DeadLetterReason.INVALID_EVENT
    return refused.value.detail


def test_without_settings_there_is_no_adapter() -> None:
    assert adapter_of(Settings(), STAGES["tickets"]) is None


def test_fields_are_found_and_what_was_read_is_not_passed_on_again() -> None:
    found = fields_of(adapter(map=MAP), TICKET)
    assert found == {
        "id": "4711",
        "subject": "Broken",
        "body": "It does not start.",
        "ticket": {
            "status": "new", "requester": {"email": "a@example.org"}, "tags": ["billing", "vip"],
        },
        "account": 12,
    }  # fmt: skip


def test_several_places_are_joined_with_headings_and_blank_lines() -> None:
    body = ["ticket.subject", {"heading": "What happened", "value": "ticket.description"}]
    made = adapter(map={"id": "ticket.id", "body": body})
    assert fields_of(made, TICKET)["body"] == "Broken\n\nWhat happened\n\nIt does not start."
    without = {"ticket": {"id": 1, "subject": "Broken", "description": None}}
    assert fields_of(made, without)["body"] == "Broken"


def test_texts_of_a_list_are_lines_and_numbers_and_booleans_are_texts() -> None:
    made = adapter(map={"id": "n", "body": "lines[].text", "channel": "flag", "subject": "f"})
    record = {"n": 12, "lines": [{"text": "one"}, {"text": 2}, {}], "flag": True, "f": 1.5}
    found = fields_of(made, record)
    assert (found["id"], found["body"]) == ("12", "one\n2")
    assert (found["channel"], found["subject"]) == ("true", "1.5")


def test_defaults_are_another_place_or_a_literal() -> None:
    made = adapter(map={"id": "id", "body": "text || title", "channel": "via || 'web'"})
    assert fields_of(made, {"id": "1", "title": "t"}) == {"id": "1", "body": "t", "channel": "web"}


def test_a_field_that_is_not_there_is_missing_even_if_the_record_has_its_name() -> None:
    made = adapter(map={"id": "number", "subject": "title"})
    found = fields_of(made, {"number": 1, "body": "b", "subject": {"not": "a subject"}})
    assert found == {"id": "1", "body": "b"}


def test_what_every_event_needs_and_is_not_there_is_named_with_its_expression() -> None:
    said = refusal(adapter(map=MAP), {"ticket": {"id": 1, "description": None}})
    assert "stages.tickets.map.body" in said
    assert "`ticket.description`" in said


def test_an_object_is_no_text() -> None:
    said = refusal(adapter(map={"body": "ticket"}), {"id": "1", "ticket": {"secret": "s"}})
    assert "`ticket` finds an object" in said
    assert "secret" not in said


def test_a_list_is_no_id() -> None:
    assert "finds a list" in refusal(adapter(map={"id": "ids"}), {"ids": ["a", "b"], "body": "b"})


def test_an_expression_that_fails_is_named_with_its_setting_and_without_values() -> None:
    made = adapter(map={**MAP, "channel": "join('-', secrets)"})
    said = refusal(made, {**TICKET, "secrets": [1, "hidden"]})
    assert "stages.tickets.map.channel" in said
    assert "`join('-', secrets)`" in said
    assert "hidden" not in said


def test_key_headers_topic_and_time_are_reached_from_the_root() -> None:
    made = adapter(
        map={
            "id": "$.headers.number || key",
            "body": "text",
            "channel": "$.topic",
            "created_at": "$.timestamp",
        }
    )
    found = fields_of(made, {"text": "t"})
    assert found == {
        "id": "k", "body": "t", "channel": "desk", "created_at": "2026-11-30T12:00:00Z",
    }  # fmt: skip
    assert fields_of(made, {"text": "t"}, number=b"9")["id"] == "9"


def test_a_key_that_is_an_object_has_fields() -> None:
    made = adapter(map={"id": "$.key.payload.id"})
    adapted = made.adapt(record({"body": "b"}, key=b'{"payload": {"id": 3}}'), None)
    assert isinstance(adapted, Adapted)
    assert orjson.loads(adapted.value)["id"] == "3"


def test_bytes_that_are_no_text_in_key_and_headers_break_nothing() -> None:
    made = adapter(map={"id": "id", "channel": "$.headers.x", "subject": "$.key"})
    adapted = made.adapt(record({"id": "1", "body": "b"}, key=b"\xff{", x=b"\xfe"), None)
    assert isinstance(adapted, Adapted)


def test_what_where_is_not_true_of_is_passed_over() -> None:
    made = adapter(map=MAP, where="ticket.status == 'new' && contains(ticket.tags, 'vip')")
    assert isinstance(made.adapt(record(TICKET), None), Adapted)
    other = {"ticket": {**TICKET["ticket"], "status": "closed"}}  # type: ignore[dict-item]
    assert isinstance(made.adapt(record(other), None), PassedOver)


def test_a_filter_that_fails_is_a_dead_letter_and_passes_nothing_over() -> None:
    said = refusal(adapter(where="contains(tags, 'vip')"), {"id": "1", "body": "b"})
    assert "stages.tickets.where" in said


def test_only_what_is_named_is_passed_through() -> None:
    named = ["account", "ticket.requester.email", {"name": "first_tag", "value": "ticket.tags[0]"}]
    found = fields_of(adapter(map=MAP, pass_through=named), TICKET)
    assert {name: found[name] for name in found.keys() - MAP.keys()} == {
        "account": 12, "email": "a@example.org", "first_tag": "billing",
    }  # fmt: skip
    assert set(fields_of(adapter(map=MAP, pass_through=[]), TICKET)) == set(MAP)


def test_a_file_is_in_a_nested_field_and_its_type_may_be_a_literal() -> None:
    made = adapter(
        "invoices",
        map={
            "id": "doc.no",
            "file": {"data": "doc.content", "media_type": "'application/pdf'"},
            "uri": "doc.link",
        },
    )
    assert fields_of(made, {"doc": {"no": 1, "content": "JVBERi0="}}) == {
        "id": "1", "file": {"data": "JVBERi0=", "media_type": "application/pdf"},
    }  # fmt: skip
    assert fields_of(made, {"doc": {"no": 1, "link": "s3://b/k"}}) == {
        "id": "1", "uri": "s3://b/k",
    }  # fmt: skip


def test_files_and_numbers_of_other_formats_are_written_as_json() -> None:
    made = adapter("invoices", map={"id": "no", "file": {"data": "pdf", "media_type": "kind"}})
    document = Document(
        {"no": Decimal("1.50"), "pdf": b"%PDF-", "kind": "application/pdf", "at": NOON}
    )
    adapted = made.adapt(record(b"framed"), document)
    assert isinstance(adapted, Adapted)
    assert orjson.loads(adapted.value) == {
        "id": "1.50",
        "file": {"data": "JVBERi0=", "media_type": "application/pdf"},
        "at": "2026-11-30T12:00:00+00:00",
    }


def test_what_an_envelope_said_is_reached_as_about() -> None:
    made = adapter(map={"channel": "$.about.op"})
    adapted = made.adapt(record(b""), Document({"id": "1", "body": "b"}, {"op": "c"}))
    assert isinstance(adapted, Adapted)
    assert orjson.loads(adapted.value) == {"channel": "c", "id": "1", "body": "b"}


def test_a_cloud_event_in_json_is_mapped_by_its_data() -> None:
    envelope = {"specversion": "1.0", "id": "e-1", "source": "/desk", "type": "t", "data": TICKET}
    made = adapter(map=MAP)
    content = "application/cloudevents+json"
    adapted = made.adapt(
        InputRecord("desk", None, orjson.dumps(envelope), {"content-type": content.encode()}, NOON),
        None,
    )
    assert isinstance(adapted, Adapted)
    assert orjson.loads(adapted.value)["id"] == "4711"
    assert "content-type" not in adapted.headers


def test_a_bare_file_has_no_fields_to_map_and_is_read_as_it_is() -> None:
    made = adapter("images", map={"id": "doc.id"})
    headers = {"content-type": b"image/png"}
    given = InputRecord("scans", b"k", b"\x89PNG", headers, NOON)
    assert made.adapt(given, None) == Adapted(b"\x89PNG", headers)


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({"map": {"title": "a"}}, r"map\.title.*reads id, body, subject"),
        ({"map": {"body": {"data": "a"}}}, r"map\.body\.data"),
        ({"pass_through": ["ticket.body"]}, "pass_through: tickets reads body itself"),
    ],
)
def test_fields_that_the_stage_does_not_read_are_refused_with_those_that_it_does(
    table: Mapping[str, Any], why: str
) -> None:
    with pytest.raises(UsageError, match=why):
        adapter(**table)


def test_a_file_is_not_mapped_as_a_whole() -> None:
    with pytest.raises(UsageError, match="map media_type, data below it"):
        adapter("images", map={"file": "doc"})
    with pytest.raises(UsageError, match=r"map\.file\.name"):
        adapter("images", map={"file": {"name": "doc"}})


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({"map": {"body": "a."}}, "body: `a.` is not JMESPath"),
        ({"map": {"body": []}}, "body: an empty list"),
        ({"map": {"body": 7}}, "body: an expression is needed"),
        ({"map": {"body": [{"heading": "h"}]}}, "body: an expression is needed"),
        ({"where": "status = 'new'"}, "where"),
        ({"where": "nope(status)"}, "there is no function nope"),
        ({"pass_through": ["a[0]"]}, "has no name of its own"),
        ({"pass_through": ["a.x", "b.x"]}, "two of the same name: x"),
    ],
)
def test_expressions_are_checked_when_settings_are_read(table: Mapping[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Settings.model_validate({"stages": {"tickets": table}})


@pytest.mark.parametrize(
    "value", [b"", b"not json", b"[1]", b"\xff\xfe{", b'{"a": ' + b"[" * 90 + b"]" * 90 + b"}"]
)
def test_what_is_no_json_object_is_a_dead_letter_as_without_a_mapping(value: bytes) -> None:
    with pytest.raises(InvalidEvent) as without:
        STAGES["tickets"].parse(value, key=None, headers={})
    with pytest.raises(InvalidEvent) as with_mapping:
        adapter(map=MAP).adapt(record(value), None)
    assert with_mapping.value.detail == without.value.detail


async def test_a_record_that_is_too_large_is_not_looked_at() -> None:
    made = adapter(map=MAP, max_text_chars=10)
    with pytest.raises(InvalidEvent) as refused:
        await made.read(record(b" " * 400_000))
    assert refused.value.reason is DeadLetterReason.TOO_LARGE


json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.sampled_from("ab"), inner, max_size=4)
    ),
    max_leaves=15,
)  # fmt: skip
names = st.sampled_from(["id", "body", "subject", "a", "b", "ticket"])
IDENTITY = adapter(map={name: name for name in ("id", "body", "subject", "created_at")})
MAPPED = adapter(
    map={
        "id": "$.value.a.id || value.id || key",
        "subject": "join(' ', b)",
        "body": ["/a/b/0", {"heading": "B", "value": "a.b"}, "sort_by(b, &a)[*].b"],
    },
    where="length(a) > `0` || b",
    pass_through=["a.a", {"name": "all", "value": "[*]"}],
)


@given(st.dictionaries(names, json))
def test_whatever_comes_a_mapping_raises_nothing_but_that_the_event_is_invalid(
    value: object,
) -> None:
    with suppress(InvalidEvent):
        assert isinstance(MAPPED.adapt(record(value), None), Adapted | PassedOver)


@given(st.binary(max_size=40) | st.dictionaries(names, json).map(orjson.dumps))
def test_whatever_bytes_come_they_are_read_or_refused(value: bytes) -> None:
    for made in (MAPPED, IDENTITY):
        with suppress(InvalidEvent):
            made.adapt(record(value), None)


@given(
    st.dictionaries(st.text(max_size=4), json),
    st.text(min_size=1, max_size=5),
    st.text(max_size=9),
    st.none() | st.text(max_size=4),
)
def test_a_mapping_of_each_field_to_itself_changes_nothing(
    other: dict[str, Any], event_id: str, body: str, subject: str | None
) -> None:
    known = {"customer_id", "channel"}
    value = {
        **{name: item for name, item in other.items() if name not in known},
        "id": event_id,
        "body": body,
        "subject": subject,
    }
    given_json = orjson.dumps(value)
    assert outcome(lambda: event_of(IDENTITY, record(value))) == outcome(
        lambda: STAGES["tickets"].parse(given_json, key=b"k", headers={})
    )
