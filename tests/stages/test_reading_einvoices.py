"""E-invoices are read from their own data; what does not agree is asked about, and doubted."""

import base64
import json
import time
from datetime import date
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path

import pytest

from pipeline.config import ExtraField, InvoiceSettings
from pipeline.model.errors import InvalidEvent
from pipeline.model.questions import KnownResult, Pdf, Question, Text
from pipeline.model.records import DeadLetterReason
from pipeline.stages.checks.arithmetic import Totals
from pipeline.stages.fields.invoice_answer import InvoiceAnswer, Reading
from pipeline.stages.files.decoder_server import prepare
from pipeline.stages.files.decoding import decoders_of_this_process
from pipeline.stages.files.xml import MOST_NODES, XmlRefused, parse_xml
from pipeline.stages.invoices import InvoiceEvent, InvoiceResult, Invoices, _not_shown
from tests.stages.einvoices_made import cii, pdf_with, ubl

PUBLIC = Path(__file__).parents[3] / "shared" / "data" / "invoices" / "einvoices.jsonl"
STAGE = Invoices(InvoiceSettings())
FACTUR_X = "factur-x.xml"
ENTITY = '<!DOCTYPE Invoice [<!ENTITY secret SYSTEM "file:///etc/passwd">]>'
LAUGHS = '<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'


@pytest.fixture(autouse=True)
def _decoded_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders_of_this_process, "decode", prepare)


def parsed(content: str | bytes, media_type: str = "application/xml") -> InvoiceEvent:
    data = content.encode() if isinstance(content, str) else content
    file = {"media_type": media_type, "data": base64.b64encode(data).decode()}
    value = json.dumps({"id": "E-1", "file": file}).encode()
    return stage().parse(value, key=None, headers={})


def stage(**settings: object) -> Invoices:
    return Invoices(InvoiceSettings.model_validate(settings))


def looked_at(
    content: str | bytes, media_type: str = "application/xml"
) -> KnownResult[InvoiceAnswer] | Question[InvoiceAnswer]:
    return stage().read_or_ask(parsed(content, media_type))


def known(content: str | bytes, media_type: str = "application/xml") -> KnownResult[InvoiceAnswer]:
    found = looked_at(content, media_type)
    assert isinstance(found, KnownResult)
    return found


def read(content: str | bytes, media_type: str = "application/xml") -> InvoiceResult:
    """The result, of which nothing is doubted."""
    found = known(content, media_type)
    assert found.signals == ()
    assert isinstance(found.result, InvoiceResult)
    return found.result


def contradictions(content: str | bytes, media_type: str = "application/xml") -> str:
    signals = known(content, media_type).signals
    assert {(signal.code, signal.strength) for signal in signals} == {("document_contradicts", 1.0)}
    return " ".join(signal.detail for signal in signals)


PRINTED = """Invoice {number}
Chalk, white 10 x 25.00 250.00
Sponge 4 x 12.50 50.00
Net 285.00, VAT 48.15
Total {gross} EUR"""
needs_pdfium = pytest.mark.skipif(not find_spec("pypdfium2"), reason="the extra split")


def shown(*pages: str) -> bytes:
    return pdf_with([(FACTUR_X, cii().encode())], pages=pages)


@needs_pdfium
def test_a_pdf_that_shows_what_its_data_say_is_not_asked_about() -> None:
    data = shown("Dear customer", PRINTED.format(number="R-17", gross="333,15"))
    assert read(data, "application/pdf").invoice_number == "R-17"


@needs_pdfium
def test_a_pdf_that_shows_another_total_than_its_data_is_doubted_and_asked() -> None:
    data = shown(PRINTED.format(number="R-17", gross="433.15"))
    assert "gross total" in contradictions(data, "application/pdf")
    question = known(data, "application/pdf").query()
    assert isinstance(question, Question)
    # What was read to compare is not sent beside the file.
    assert [type(part) for part in question.parts] == [Pdf]


@needs_pdfium
def test_another_number_alone_is_a_hint_and_no_doubt() -> None:
    [hint] = known(shown(PRINTED.format(number="4711", gross="333.15")), "application/pdf").signals
    assert (hint.code, hint.strength) == ("document_contradicts", 0.4)


@pytest.mark.parametrize("text", ["", "scanned by a machine, 12.12.2026", "Invoice"])
def test_a_pdf_without_a_text_layer_of_amounts_says_nothing(text: str) -> None:
    assert read(shown(text), "application/pdf").gross == Decimal("333.15")


def test_of_public_einvoices_those_that_show_another_document_are_doubted_and_no_others() -> None:
    if not PUBLIC.exists():
        pytest.skip(f"{PUBLIC} is not here")
    doubted = set()
    for row in map(json.loads, PUBLIC.read_text("utf-8").splitlines()):
        gold = row["gold"]
        gross = Decimal(str(gold["grand_total"]))
        totals = Totals((), None, None, None, None, gross, None, None)
        of = Reading(
            gold["invoice_number"],
            None,
            None,
            None,
            None,
            gold["currency"],
            totals,
            (),
            frozenset(),
        )
        if any(signal.strength == 1 for signal in _not_shown(of, row["text"])):
            doubted.add(row["id"])
    # Another invoice is printed on each of the two: its own number, and its own total.
    assert doubted == {"zugferd-50a23646", "zugferd-967b24f3"}


def refused(content: str | bytes) -> InvalidEvent:
    with pytest.raises(InvalidEvent) as caught:
        looked_at(content)
    return caught.value


@pytest.mark.parametrize(
    "document", [cii(), ubl(), ubl("CreditNote")], ids=["cii", "ubl", "ubl credit note"]
)
def test_every_field_of_an_einvoice_is_read(document: str) -> None:
    found = read(document)
    assert found.model_dump(exclude={"line_items"}) == {
        "invoice_number": "R-17",
        "issue_date": date(2026, 3, 5),
        "due_date": date(2026, 4, 4),
        "vendor": "Kreide & Söhne GmbH",
        "buyer": "Tafelwerk AG",
        "currency": "EUR",
        "allowances": "20.00",
        "charges": "5.00",
        "net": "285.00",
        "tax": "48.15",
        "gross": "333.15",
        "prepaid": "100.00",
        "withheld": "0",
        "due": "233.15",
        "legibility": "legible",
        "missing": [],
        "fields": {},
    }
    assert [line.model_dump() for line in found.line_items] == [
        {
            "description": "Chalk, white",
            "quantity": "10",
            "unit_price": "25.00",
            "amount": "250.00",
        },
        {"description": "Sponge", "quantity": "4", "unit_price": "12.50", "amount": "50.00"},
    ]


def test_a_credit_note_keeps_the_signs_that_it_states() -> None:
    assert read(ubl("CreditNote")).gross == Decimal("333.15")
    below = cii(net="-285.00", tax="-48.15", gross="-333.15", payable="-433.15")
    assert "BR-CO-13" in contradictions(below)


def test_what_is_optional_and_not_there_is_none_of_it() -> None:
    found = read(cii(prepaid="", payable="333.15", rounding="", due=""))
    assert found.prepaid == 0
    assert found.due == Decimal("333.15")
    assert found.due_date is None


def test_a_rounded_amount_due_is_no_contradiction() -> None:
    assert read(ubl(rounding="-0.15", payable="233.00")).due == 233


def test_a_price_of_several_is_published_as_that_of_one() -> None:
    per_hundred = cii().replace(
        "<ram:ChargeAmount>25.00</ram:ChargeAmount>",
        "<ram:ChargeAmount>2500.00</ram:ChargeAmount>"
        '<ram:BasisQuantity unitCode="C62">100</ram:BasisQuantity>',
    )
    assert read(per_hundred).line_items[0].unit_price == 25


def test_lines_that_group_others_are_no_positions() -> None:
    group = (
        "<ram:AssociatedDocumentLineDocument>"
        "<ram:LineStatusReasonCode>GROUP</ram:LineStatusReasonCode>"
        "</ram:AssociatedDocumentLineDocument><ram:SpecifiedTradeProduct>"
    )
    first, rest = cii().split("<ram:IncludedSupplyChainTradeLineItem>", 1)
    line = rest.split("</ram:IncludedSupplyChainTradeLineItem>", 1)[0]
    grouped = line.replace("<ram:SpecifiedTradeProduct>", group)
    item = "ram:IncludedSupplyChainTradeLineItem"
    assert len(read(f"{first}<{item}>{grouped}</{item}><{item}>{rest}").line_items) == 2


def test_the_tax_in_the_currency_of_the_books_is_not_the_tax() -> None:
    tax = '<ram:TaxTotalAmount currencyID="EUR">48.15</ram:TaxTotalAmount>'
    assert read(cii().replace(tax, tax + tax.replace("EUR", "CZK"))).tax == Decimal("48.15")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"net": "258.00"}, "BR-CO-13"),
        ({"tax": "54.51"}, "BR-CO-14"),
        ({"gross": "333.51"}, "BR-CO-15"),
        ({"payable": "332.15"}, "BR-CO-16"),
        ({"lines": "30.00"}, "BR-CO-10"),
        ({"charges": "50.00"}, "BR-CO-13"),
        ({"currency": "EUX"}, "no such currency"),
        ({"number": ""}, "invoice_number: not found"),
        ({"seller": ""}, "vendor: not found"),
        ({"gross": ""}, "gross: not found"),
        ({"payable": ""}, "due: not found"),
        ({"issued": "2026-02-30"}, "issue_date: not a date"),
        ({"issued": "1026-03-05"}, "1026"),
        ({"due": "2026-03-04"}, "before the issue date"),
        ({"gross": "333,15"}, "gross: not a number"),
    ],
)
@pytest.mark.parametrize("make", [cii, ubl])
def test_data_that_do_not_agree_or_are_not_whole_are_doubted(
    make: object, changes: dict[str, str], said: str
) -> None:
    assert callable(make)
    assert said in contradictions(make(**changes))


def test_totals_in_another_currency_are_a_contradiction() -> None:
    gross = '<cbc:TaxInclusiveAmount currencyID="EUR">'
    assert "another one" in contradictions(ubl().replace(gross, gross.replace("EUR", "USD")))


def test_what_is_asked_then_is_the_document_without_the_files_in_it() -> None:
    picture = (
        "<cac:AdditionalDocumentReference><cac:Attachment>"
        f"<cbc:EmbeddedDocumentBinaryObject>{'QUJD' * 1000}</cbc:EmbeddedDocumentBinaryObject>"
        "</cac:Attachment></cac:AdditionalDocumentReference>"
    )
    asked = known(ubl(gross="1.00", more=picture)).query()
    assert isinstance(asked, Question)
    (part,) = asked.parts
    assert isinstance(part, Text)
    assert "Kreide &amp; Söhne" in part.text
    assert "QUJD" not in part.text


@pytest.mark.parametrize("profile", ["minimum", "basicwl"])
def test_a_profile_without_lines_is_asked_about_as_any_other(profile: str) -> None:
    document = cii(profile=f"urn:factur-x.eu:1p0:{profile}", positions=())
    assert isinstance(looked_at(document), Question)


@pytest.mark.parametrize(
    "document",
    [
        ubl(namespace="urn:example:invoice"),
        "<Invoice><ID>7</ID></Invoice>",
        '<p:FatturaElettronica xmlns:p="http://example.org/fatture"/>',
    ],
)
def test_xml_of_another_kind_is_asked_about_as_text(document: str) -> None:
    asked = looked_at(document)
    assert isinstance(asked, Question)
    assert [type(part) for part in asked.parts] == [Text]


def test_fields_in_a_wrong_namespace_are_not_there() -> None:
    document = ubl().replace("CommonBasicComponents-2", "CommonBasicComponents-1")
    assert "not found" in contradictions(document)


@pytest.mark.parametrize("hostile", [ENTITY, LAUGHS, "<!DOCTYPE Invoice>"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_document_type_declaration_is_refused(hostile: str, encoding: str) -> None:
    head, body = ubl(number="&b;").split("?>", 1)
    refusal = refused((head.replace("UTF-8", encoding) + "?>" + hostile + body).encode(encoding))
    assert refusal.reason is DeadLetterReason.UNSUPPORTED_MEDIA
    assert "DTD" in refusal.detail
    assert "passwd" not in refusal.detail


@pytest.mark.parametrize("broken", ["<Invoice>", "<a></b>", "<a>&b;</a>", "<", "<a>\x01</a>"])
def test_xml_that_is_not_well_formed_is_a_dead_letter_that_says_so(broken: str) -> None:
    assert "well-formed" in refused(broken).detail


@pytest.mark.parametrize(
    ("hostile", "because"),
    [
        ("<a>" * 100_000, "well-formed"),
        ("<a>" + "<b/>" * MOST_NODES + "</a>", "tags"),
        ("<a " + 'b=""' * (MOST_NODES + 1) + "/>", "attributes"),
        ('<?xml version="1.0" encoding="punycode"?><a/>', "encoding"),
        ('<?xml version="1.0" encoding="utf-16"?><a/>', "UTF-16"),
        ("<a>" + "b" * (8 << 20) + "</a>", "bytes"),
    ],
    ids=["depth", "tags", "attributes", "odd encoding", "lying encoding", "size"],
)
def test_hostile_xml_is_refused_in_no_time(hostile: str, because: str) -> None:
    began = time.process_time()
    with pytest.raises(XmlRefused, match=because):
        parse_xml(hostile.encode())
    assert time.process_time() - began < 2


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "latin-1"])
def test_an_einvoice_is_read_in_any_usual_encoding(encoding: str) -> None:
    declared = {"utf-8-sig": "UTF-8", "latin-1": "ISO-8859-1"}.get(encoding, "UTF-16")
    document = ubl().replace("UTF-8", declared).encode(encoding)
    assert read(document).vendor == "Kreide & Söhne GmbH"


def test_xml_as_text_is_read_as_well_and_other_text_is_asked() -> None:
    for text, kind in ((cii(), KnownResult), (ubl(), KnownResult), ("<b>Invoice</b> 7", Question)):
        assert isinstance(STAGE.read_or_ask(InvoiceEvent(id="E-1", text=text)), kind)
    hostile = InvoiceEvent(id="E-1", text=ENTITY + "<Invoice>&secret;</Invoice>")
    assert isinstance(STAGE.read_or_ask(hostile), Question)


@pytest.mark.parametrize("name", [FACTUR_X, "xrechnung.xml", "ZUGFeRD-invoice.xml", "data.xml"])
def test_the_einvoice_that_is_attached_to_a_pdf_is_read(name: str) -> None:
    file = pdf_with([(name, cii().encode())])
    assert read(file, "application/pdf").invoice_number == "R-17"


def test_other_files_that_are_attached_do_not_matter() -> None:
    others = [("plan.png", b"\x89PNG"), ("delivery.xml", b"<note/>"), ("bad.xml", b"<no")]
    file = pdf_with([*others, (FACTUR_X, cii().encode())])
    assert read(file, "application/pdf").invoice_number == "R-17"


def test_two_einvoices_in_one_pdf_are_a_contradiction_where_they_differ() -> None:
    both = [(FACTUR_X, cii().encode()), ("xrechnung.xml", ubl().encode())]
    assert read(pdf_with(both), "application/pdf").invoice_number == "R-17"
    both[1] = ("xrechnung.xml", ubl(number="R-18").encode())
    assert "that differ" in contradictions(pdf_with(both), "application/pdf")


def test_an_encrypted_pdf_is_read_where_it_opens_without_a_password() -> None:
    file = pdf_with([(FACTUR_X, cii().encode())], password="")
    assert read(file, "application/pdf").invoice_number == "R-17"
    locked = pdf_with([(FACTUR_X, cii().encode())], password="secret")
    with pytest.raises(InvalidEvent, match="password"):
        looked_at(locked, "application/pdf")


@pytest.mark.parametrize("attached", [[], [("other.xml", b"<note/>")], [(FACTUR_X, b"<no")]])
def test_a_pdf_without_an_einvoice_is_asked_about_as_ever(
    attached: list[tuple[str, bytes]],
) -> None:
    file = pdf_with(attached)
    assert looked_at(file, "application/pdf") == stage().question(parsed(file, "application/pdf"))


def test_a_doubted_pdf_is_asked_about_as_it_was_sent() -> None:
    file = pdf_with([(FACTUR_X, cii(net="1.00").encode())])
    asked = known(file, "application/pdf").query()
    assert isinstance(asked, Question)
    assert asked.parts == (Pdf(file),)


def test_xml_behind_a_uri_is_read(tmp_path: Path) -> None:
    (tmp_path / "invoice").write_text(cii(), "utf-8")
    behind = stage(uri_allow=[f"{tmp_path.as_uri()}/"])
    event = InvoiceEvent(id="E-1", uri=f"{tmp_path.as_uri()}/invoice")
    assert isinstance(behind.read_or_ask(event), KnownResult)


@pytest.mark.parametrize("content_type", ["application/xml", "text/xml; charset=utf-8", ""])
def test_bare_xml_in_a_record_is_read(content_type: str) -> None:
    headers = {"content-type": content_type.encode(), "event-id": b"E-1"}
    event = STAGE.parse(ubl().encode(), key=None, headers=headers)
    assert isinstance(STAGE.read_or_ask(event), KnownResult)


def test_a_lack_of_what_a_team_requires_is_doubted() -> None:
    strict = stage(required_fields=["due_date"])
    found = strict.read_or_ask(InvoiceEvent(id="E-1", text=cii(due="")))
    assert isinstance(found, KnownResult)
    assert [signal.detail for signal in found.signals] == [
        "By the document's own data: due_date: not found."
    ]


def test_further_fields_of_a_team_are_asked_for() -> None:
    field = ExtraField(name="project", description="Which project.", type="text")
    asking = Invoices(InvoiceSettings(fields=[field]))
    assert isinstance(asking.read_or_ask(InvoiceEvent(id="E-1", text=cii())), Question)


def test_without_the_setting_nothing_is_read_and_no_xml_is_taken() -> None:
    off = stage(read_einvoices=False)
    assert isinstance(off.read_or_ask(InvoiceEvent(id="E-1", text=cii())), Question)
    assert isinstance(
        off.read_or_ask(parsed(pdf_with([(FACTUR_X, cii().encode())]), "application/pdf")), Question
    )
    with pytest.raises(InvalidEvent, match="not taken"):
        off.read_or_ask(parsed(cii()))
