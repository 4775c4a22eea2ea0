"""A proposed mapping, for records as people have them."""

import base64
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cascade.reading import adapter_of
from pipeline.config import Settings
from pipeline.operators.mapping_proposal import Proposal, propose
from pipeline.stages.api import build_stages

STAGES = build_stages(Settings().stages)
Make = Callable[[int], dict[str, Any]]
WORDS = "The printer in room {} does not start since Monday, and nobody can send anything."
PDF = base64.b64encode(b"%PDF-1.7\n" + bytes(200)).decode()


def zendesk(n: int) -> dict[str, Any]:
    """An event of a webhook, as Zendesk sends them."""
    return {
        "type": "zen:event-type:ticket.created", "account_id": 22129848, "id": f"evt-{n}",
        "time": "2026-11-02T10:00:00Z", "zendesk_event_version": "2022-06-20",
        "subject": f"zen:ticket:{n}", "event": {},
        "detail": {
            "id": str(5000 + n), "subject": f"Printer {n}", "description": WORDS.format(n),
            "created_at": "2026-11-02T10:00:00Z", "requester_id": str(70 + n % 2),
            "brand_id": "9", "organization_id": "4", "status": "NEW", "priority": "URGENT",
            "via": {"channel": "email"}, "tags": ["a"], "external_id": None,
        },
    }  # fmt: skip


def freshdesk(n: int) -> dict[str, Any]:
    return {
        "freshdesk_webhook": {
            "ticket_id": 900 + n, "ticket_subject": f"Printer {n}",
            "ticket_description": f"<div>{WORDS.format(n)}</div>",
            "ticket_url": f"https://acme.example/{n}", "ticket_priority": "High",
            "ticket_source": "Email", "ticket_requester_email": "a@example.org",
            "ticket_created_at": "2026-11-02T10:00:00+01:00", "triggered_event": "{ticket}",
        }
    }  # fmt: skip


def intercom(n: int) -> dict[str, Any]:
    return {
        "type": "notification_event", "app_id": "abc", "id": f"notif_{n}", "created_at": 1730541600,
        "topic": "conversation.user.created", "delivery_attempts": 1,
        "data": {
            "type": "notification_event_data",
            "item": {
                "type": "conversation", "id": str(300 + n), "created_at": 1730541600,
                "source": {
                    "type": "conversation", "id": str(800 + n), "delivered_as": "customer",
                    "subject": f"<p>Printer {n}</p>", "body": f"<p>{WORDS.format(n)}</p>",
                    "author": {"type": "user", "id": "u-1", "name": "Ada", "email": "a@b.org"},
                },
                "contacts": {"contacts": [{"id": "u-1"}]}, "teammates": {"admins": []},
            },
        },
    }  # fmt: skip


def row(n: int) -> dict[str, Any]:
    return {
        "ticket_no": 40 + n, "title": f"Printer {n}", "body": WORDS.format(n), "customer_id": n % 3,
        "state": "open", "created_at": "2026-11-02 10:00:00", "updated_by": "system",
    }  # fmt: skip


def debezium(n: int) -> dict[str, Any]:
    source = {"connector": "postgresql", "name": "crm", "table": "tickets", "ts_ms": 173054160}
    return {"before": None, "after": row(n), "source": source, "op": "c", "ts_ms": 173054160}


def debezium_with_schema(n: int) -> dict[str, Any]:
    return {"schema": {"type": "struct", "fields": []}, "payload": debezium(n)}


def crm(n: int) -> dict[str, Any]:
    return {
        "Id": f"500xx{n}", "CaseNumber": f"0000{n}", "AccountId": "001xx", "ContactId": "003xx",
        "Subject": f"Printer {n}", "Description": WORDS.format(n), "Origin": "Web",
        "Status": "New", "CreatedDate": "2026-11-02T10:00:00.000+0000", "OwnerId": "005xx",
    }  # fmt: skip


def proposal(make: Make, stage: str = "tickets", count: int = 5) -> Proposal:
    return propose(stage, STAGES[stage].raw_model, [make(n) for n in range(count)])


def mapped(found: Proposal) -> Mapping[str, Any]:
    """What is proposed, as the settings would read it."""
    table: Mapping[str, Any] = tomllib.loads(found.toml())["stages"][found.stage]["map"]
    return table


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        pytest.param(
            zendesk,
            {
                "id": "detail.id",
                "subject": "detail.subject",
                "body": "detail.description",
                "created_at": "detail.created_at",
                "customer_id": "detail.requester_id",
                "channel": "detail.via.channel",
            },
            id="Zendesk",
        ),
        pytest.param(
            freshdesk,
            {
                "id": "freshdesk_webhook.ticket_id",
                "subject": "freshdesk_webhook.ticket_subject",
                "body": "freshdesk_webhook.ticket_description",
                "created_at": "freshdesk_webhook.ticket_created_at",
                "customer_id": "freshdesk_webhook.ticket_requester_email",
                "channel": "freshdesk_webhook.ticket_source",
            },
            id="Freshdesk",
        ),
        pytest.param(
            intercom,
            {
                "id": "data.item.id",
                "subject": "data.item.source.subject",
                "body": "data.item.source.body",
                "created_at": "$.timestamp",
                "customer_id": "data.item.source.author.id",
            },
            id="Intercom",
        ),
        pytest.param(
            row,
            {
                "id": "ticket_no",
                "subject": "title",
                "body": "body",
                "created_at": "created_at",
                "customer_id": "customer_id",
            },
            id="row",
        ),
        pytest.param(
            crm,
            {
                "id": "Id",
                "subject": "Subject",
                "body": "Description",
                "created_at": "CreatedDate",
                "customer_id": "ContactId",
                "channel": "Origin",
            },
            id="CRM",
        ),
    ],
)
def test_the_fields_of_records_as_people_have_them_are_found(
    make: Make,
    expected: Mapping[str, str],
) -> None:
    found = proposal(make)
    assert mapped(found) == expected
    sure = {each.field: each.sureness for each in found.fields}
    assert sure["body"] != "a guess"
    assert sure["id"] != "a guess"
    assert not found.missing


@pytest.mark.parametrize("make", [debezium, debezium_with_schema])
def test_change_events_are_recognised_and_the_row_in_them_is_mapped(make: Make) -> None:
    found = proposal(make)
    assert found.envelope == "debezium"
    assert mapped(found) == mapped(proposal(row))
    written = tomllib.loads(found.toml())["stages"]["tickets"]
    assert written["input"] == {"envelope": "debezium"}


def test_a_stage_without_a_subject_gets_it_before_the_text() -> None:
    assert mapped(proposal(zendesk, "texts")) == {
        "id": "detail.id",
        "text": ["detail.subject", "detail.description"],
    }


def test_files_in_base64_are_found_by_what_they_are() -> None:
    def scan(n: int) -> dict[str, Any]:
        pages = [{"name": "a.pdf", "blob": PDF, "mimeType": "application/pdf"}]
        return {"documentId": n, "attachments": pages, "note": "for the archive"}

    assert mapped(proposal(scan, "invoices")) == {
        "id": "documentId",
        "file": {"data": "attachments[0].blob", "media_type": "attachments[0].mimeType"},
    }


def test_the_type_of_a_file_is_a_literal_where_no_field_says_it() -> None:
    found = mapped(proposal(lambda n: {"id": n, "scan": PDF}, "images"))
    assert found["file"] == {"data": "scan", "media_type": "'application/pdf'"}


def test_the_place_of_a_file_is_found() -> None:
    found = mapped(proposal(lambda n: {"id": n, "link": f"s3://inbox/{n}.pdf"}, "invoices"))
    assert found == {"id": "id", "uri": "link"}


def test_code_is_found_with_its_language() -> None:
    found = proposal(
        lambda n: {"key": f"f{n}", "code": f"def f{n}(): ...", "lang": "python"}, "code"
    )
    assert mapped(found) == {"id": "key", "source": "code", "language": "lang"}


def test_what_is_needed_and_not_there_is_said() -> None:
    found = proposal(lambda n: {"a": n, "b": True})
    assert found.missing == ("id", "body")
    assert '# body = ""  # nothing looks like it' in found.toml()


def test_an_id_that_is_not_of_its_own_is_not_taken_for_one() -> None:
    found = proposal(lambda n: {"id": 1, "number": n, "text": WORDS.format(n)})
    assert mapped(found)["id"] == "number"


def test_where_not_all_records_have_a_text_a_filter_is_proposed() -> None:
    def some(n: int) -> dict[str, Any]:
        return row(n) if n % 2 else {"ticket_no": n, "state": "closed"}

    assert '# where = "body"' in proposal(some).toml()


def test_where_a_field_says_that_most_were_not_dealt_with_a_filter_is_proposed() -> None:
    def of(n: int) -> dict[str, Any]:
        return row(n) | {"state": "closed" if n % 4 == 0 else "New"}

    toml = proposal(of).toml()
    assert "# where = \"state == 'New'\"" in toml
    assert "3 of 5 records; the others are passed over" in toml
    some = proposal(lambda n: of(n) if n else {"state": "New"})
    assert some.where == "state == 'New' && body"


@pytest.mark.parametrize(
    "status",
    [
        lambda n: "closed" if n % 4 else "new",  # most are done
        lambda n: f"new {n}",
        lambda n: n % 2,
        lambda n: "it's new",
        lambda n: None if n % 2 else "new",
    ],
)
def test_no_filter_is_proposed_where_none_is_plain(status: Callable[[int], Any]) -> None:
    assert proposal(lambda n: row(n) | {"state": status(n)}).where is None


def test_a_date_that_only_the_schema_of_a_change_says_is_one_is_found() -> None:
    field = {"field": "created", "type": "int64", "name": "io.debezium.time.MicroTimestamp"}
    after = {"field": "after", "type": "struct", "fields": [field]}
    schema = {"type": "struct", "fields": [after]}

    def of(n: int) -> dict[str, Any]:
        row = {"id": n, "message": WORDS.format(n), "created": 1796030400000000 + n}
        change = {"op": "c", "before": None, "after": row, "source": {}}
        return {"schema": schema, "payload": change}

    assert mapped(proposal(of))["created_at"] == "created"


def test_odd_names_are_quoted_and_odd_records_break_nothing() -> None:
    found = proposal(lambda n: {"Ticket Nr.": n, 'the "text"': WORDS.format(n), "": {"": [None]}})
    assert mapped(found)["body"] == '"the \\"text\\""'


@pytest.mark.parametrize("make", [zendesk, freshdesk, intercom, row, crm])
def test_a_proposal_is_a_setting_that_reads_the_records_it_was_made_of(make: Make) -> None:
    tables = tomllib.loads(proposal(make).toml())
    settings = Settings.model_validate(tables)
    stage = build_stages(settings.stages)["tickets"]
    made = adapter_of(settings, stage)
    assert made is not None


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=4) | st.sampled_from(["id", "body", "file"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(
    st.lists(st.dictionaries(st.text(max_size=4) | st.just("text"), json), min_size=1, max_size=4),
    st.sampled_from(sorted(STAGES)),
)
def test_whatever_comes_what_is_proposed_can_be_set(
    records: list[dict[str, Any]], stage: str
) -> None:
    found = propose(stage, STAGES[stage].raw_model, records)
    settings = Settings.model_validate(tomllib.loads(found.toml()))
    adapter_of(settings, STAGES[stage])


def test_one_record_is_enough_for_a_guess() -> None:
    assert mapped(proposal(zendesk, count=1))["body"] == "detail.description"


def test_the_longest_prose_is_the_text_whatever_it_is_called() -> None:
    records = [{"nr": n, "zustand": "neu", "anliegen": WORDS.format(n)} for n in range(3)]
    proposal = propose("tickets", STAGES["tickets"].raw_model, records)
    [body] = [each for each in proposal.fields if each.field == "body"]
    assert (body.expression, body.sureness) == ('"anliegen"', "a guess")
    assert proposal.missing == ()


def test_an_account_within_a_case_is_the_customer() -> None:
    records = [{"no": n, "body": WORDS.format(n), "account": {"number": 7}} for n in range(3)]
    proposal = propose("tickets", STAGES["tickets"].raw_model, records)
    assert 'customer_id = "account.number"' in proposal.toml()
