"""E-mails: what a person wrote comes out, whichever client wrote it, and no mail costs more."""

import sys
from collections.abc import Callable
from functools import partial

import pytest

from pipeline.inputs.mail import MOST_DEPTH, MOST_LINES, MOST_PARTS, Mail
from pipeline.inputs.mail_history import own_text
from pipeline.model.records import DeadLetterReason
from tests.inputs import mails
from tests.inputs.records import read, record, refused

HEAD = b"From: Anna <anna@mail.example>\r\n"


async def test_a_reply_of_gmail_is_its_first_paragraphs() -> None:
    document = await read(Mail(), record(mails.gmail()))
    assert document.fields == {
        "id": "CAF1@mail.gmail.example",
        "subject": "Re: Your order",
        "from": "anna@mail.example",
        "from_name": "Anna Example",
        "to": ["support@shop.example"],
        "date": "2026-11-30T09:20:00+00:00",
        "text": "Please cancel my order, it arrives too late.\n\nThanks, Anna",
    }
    assert document.about["headers"]["in-reply-to"] == "<o-1@shop.example>"


async def test_html_of_outlook_is_read_as_it_is_seen_and_its_logo_is_not_an_attachment() -> None:
    document = await read(Mail("each"), record(mails.outlook()))
    assert document.fields["subject"] == "AW: Ihre Rechnung über Öl"
    assert document.fields["from_name"] == "Jörg Müller"
    assert document.about["text"] == (
        "Guten Tag,\nbitte schicken Sie mir die Rechnung 4711 noch einmal."
    )
    assert "text" not in document.fields
    assert document.fields["file"] == {
        "name": "Rechnung.PDF",
        "media_type": "application/pdf",
        "data": mails.PDF,
    }
    assert document.about["attachments"] == [
        {"name": "Rechnung.PDF", "media_type": "application/pdf", "bytes": len(mails.PDF)}
    ]


async def test_apple_mail_writes_text_around_its_files() -> None:
    document = await read(Mail("together"), record(mails.apple()))
    assert document.fields["subject"] == "Re: Facture à payer"
    assert document.fields["from_name"] == "Hélène"
    assert document.fields["to"] == ["support@shop.example", "facturation@shop.example"]
    assert document.fields["text"] == "Bonjour,\n\nvoici la facture demandée."
    assert [each["name"] for each in document.about["attachments"]] == ["facture é.pdf"]


async def test_gmail_s_html_alone_comes_to_the_same() -> None:
    mail = HEAD + b"Subject: Re: x\r\nContent-Type: text/html\r\n\r\n" + mails.GMAIL_HTML.encode()
    text = (await read(Mail(), record(mail))).fields["text"]
    assert text == "Please cancel my order, it arrives too late.\nThanks, Anna"


REPLIES = {
    "outlook": (mails.OUTLOOK_TEXT, mails.OUTLOOK_TEXT.partition("\n\n\n")[0]),
    "outlook, original message": (
        (
            "Yes.\n\n-----Original Message-----\nFrom: A <a@b.example>\nSent: Monday\nTo: B\n"
            "Subject: Really?\n\nReally?"
        ),
        "Yes.",
    ),
    "outlook, under a rule": (
        (
            "はい。\n________________________________\n差出人: A <a@b.example>\n"
            "送信日時: 2026年11月30日 9:14\n宛先: B\n件名: 本当\n\n本当？"
        ),
        "はい。",
    ),
    "gmail, spanish": (
        (
            "Quiero anularlo.\n\nEl lun, 30 nov 2026 a las 9:14, Ayuda (<s@shop.example>) escribió:"
            "\n\n> Hola\n"
        ),
        "Quiero anularlo.",
    ),
    "gmail, dutch": (
        "Graag annuleren.\n\nOp ma 30 nov 2026 om 09:14 schreef Winkel <s@shop.example>:\n> Hoi",
        "Graag annuleren.",
    ),
    "thunderbird, german": (
        "Bitte stornieren.\n\nAm 30.11.26 um 09:14 schrieb Support:\n> Hallo\n>> Frage\n\n-- \nJM",
        "Bitte stornieren.",
    ),
    "apple, english": (
        "Yes.\n\n> On 30 Nov 2026, at 09:14, S <s@shop.example> wrote:\n> \n> Really?\n",
        "Yes.",
    ),
    "chinese": (
        "请取消订单。\n\n2026年11月30日 09:14，客服 <s@shop.example> 写道：\n> 您好\n",
        "请取消订单。",
    ),
    "signature": ("Please call me.\n-- \nAnna Example\n+49 30 1234", "Please call me."),
    "telephone": ("Ruf mich an.\n\nVon meinem iPhone gesendet\n", "Ruf mich an."),
}


@pytest.mark.parametrize("client", REPLIES)
def test_what_a_reply_quotes_is_left_out(client: str) -> None:
    text, own = REPLIES[client]
    assert own_text(text, is_reply=True) == own


@pytest.mark.parametrize("client", sorted(REPLIES.keys() - {"signature", "telephone"}))
def test_of_what_is_no_reply_nothing_is_taken_for_a_quotation(client: str) -> None:
    text, _ = REPLIES[client]
    assert own_text(text, is_reply=False).startswith(text.partition("\n\n-- ")[0].strip())


KEPT = {
    "answers between the quoted lines": "> Which size?\n\nL\n\n> Which colour?\n\nBlue\n",
    "an answer below what it quotes": "On 1 Dec 2026 at 9:14 S <s@b.example> wrote:\n> Size?\n\nL",
    "answers that are said to be below": (
        "See my answers below.\n\nFrom: S <s@b.example>\nSent: Monday\nSubject: Size\n\nSize? L!"
    ),
    "a forwarded mail": (
        "Please look.\n\n---------- Forwarded message ---------\nFrom: S <s@b.example>\n"
        "Date: Mon, 30 Nov 2026\nSubject: Broken\nTo: A\n\nIt is broken."
    ),
    "a mail forwarded by Apple's": (
        "Voilà.\n\nDébut du message réexpédié :\n\nDe: S <s@b.example>\nObjet: Panne\n"
        "Date: 30 novembre 2026\nÀ: A\n\nEn panne."
    ),
    "nothing but a quotation": "> Is this still valid?\n> Yes or no?\n",
    "a list": "Hello, I need:\n- a blue one\n- a red one\nThanks,\nAnna",
    "a sentence as clients write it": "On Monday I ordered.\nThen my colleague wrote:\nplease",
    "a form": "From: Berlin\nTo: Rome\nCc: none\nWhen: 1 December",
    "dashes": "The old one:\n-----\nThe new one:\n--\n12 Main Street",
}


@pytest.mark.parametrize("case", KEPT)
def test_in_doubt_nothing_is_left_out(case: str) -> None:
    assert own_text(KEPT[case], is_reply=True) == KEPT[case].strip()


@pytest.mark.parametrize(
    ("subject", "is_cut"),
    [("Re: x", True), ("AW: x", True), ("RE[2]: x", True), ("回复：x", True), ("Fwd: Re: x", False),
     ("WG: x", False), ("x", False), ("Request: x", False)],
)  # fmt: skip
async def test_only_a_reply_loses_what_it_quotes(subject: str, is_cut: bool) -> None:
    text = "Yes.\n\nA <a@b.example> wrote:\n> Really?"
    head = HEAD + f"Subject: {subject}\nContent-Type: text/plain; charset=utf-8\n\n".encode()
    document = await read(Mail(), record(head + text.encode()))
    assert document.fields["text"] == ("Yes." if is_cut else text)


@pytest.mark.parametrize(
    ("charset", "text"),
    [("iso-8859-1", "50 € – “yes”"), ("gb2312", "镕基"), ("ks_c_5601-1987", "뷁"),
     ("koi8-r", "Привет"), ("iso-2022-jp", "日本語"), ("windows-1250", "žluťoučký"),
     ("utf-7", "ä"), ("x-made-up", "ä"), ("punycode", "ä"), ("us-ascii", "ä")],
)  # fmt: skip
async def test_text_is_read_in_its_charset_or_in_utf_8(charset: str, text: str) -> None:
    codec = {"iso-8859-1": "cp1252", "gb2312": "gbk", "ks_c_5601-1987": "cp949"}.get(charset)
    is_charset = charset not in {"utf-7", "x-made-up", "punycode", "us-ascii"}
    encoded = text.encode(codec or (charset if is_charset else "utf-8"))
    head = HEAD + f'Content-Type: text/plain; charset="{charset}"\r\n\r\n'.encode()
    assert (await read(Mail(), record(head + encoded))).fields["text"] == text


async def test_text_in_no_charset_is_read_as_windows_1252() -> None:
    document = await read(Mail(), record(HEAD + b"Subject: Gr\xfc\xdfe\n\n50 \x80"))
    assert document.fields["subject"] == "Grüße"
    assert document.fields["text"] == "50 €"


async def test_a_mail_without_an_id_has_that_of_its_record() -> None:
    assert (await read(Mail(), record(HEAD + b"\nx"))).fields["id"] == "in/2/7"
    assert (await read(Mail(), record(HEAD + b"\nx", key=b"k-1"))).fields["id"] == "k-1"


async def test_html_that_comes_before_a_footer_is_not_lost() -> None:
    parts = b"--b\nContent-Type: text/html\n\n<p>Hello</p>\n--b\nContent-Type: text/plain\n\nList\n"
    mail = HEAD + b"Content-Type: multipart/mixed; boundary=b\n\n" + parts + b"--b--\n"
    assert (await read(Mail(), record(mail))).fields["text"] == "Hello\n\nList"


async def test_a_mail_whose_parts_have_no_boundary_is_read_as_it_was_written() -> None:
    mail = HEAD + b"Content-Type: multipart/alternative\n\nplain words\n"
    assert (await read(Mail(), record(mail))).fields["text"] == "plain words"


def with_files(*files: tuple[str, str, bytes]) -> bytes:
    mail = mails._mail("a@b.example", "Files", "<f@b.example>")
    mail.set_content("See the files.")
    for name, kind, data in files:
        maintype, subtype = kind.split("/")
        mail.add_attachment(data, maintype=maintype, subtype=subtype, filename=name)
    return mail.as_bytes()


async def test_attachments_are_ignored_unless_they_are_asked_for_and_are_always_named() -> None:
    document = await read(Mail(), record(with_files(("a.pdf", "application/pdf", mails.PDF))))
    assert "file" not in document.fields
    assert document.about["attachments"][0]["name"] == "a.pdf"


async def test_a_mail_without_an_attachment_is_an_event_by_its_text() -> None:
    document = await read(Mail("each"), record(with_files(("a.zip", "application/zip", b"PK"))))
    assert document.fields["text"] == "See the files."
    assert "file" not in document.fields


async def test_of_several_attachments_each_is_an_event_of_its_own() -> None:
    files = ("a.pdf", "application/pdf", mails.PDF), ("b.png", "image/png", mails.PNG)
    document = await read(Mail("each"), record(with_files(*files)))
    assert [part.name for part in document.parts] == ["a.pdf", "b.png"]
    assert [part.fields["file"]["data"] for part in document.parts] == [mails.PDF, mails.PNG]
    assert document.about["text"] == "See the files."


async def test_one_attachment_is_the_files_event_and_no_part() -> None:
    document = await read(Mail("each"), record(with_files(("a.pdf", "application/pdf", mails.PDF))))
    assert document.fields["file"]["data"] == mails.PDF
    assert not document.parts


async def test_text_that_is_attached_is_appended_where_attachments_belong_together() -> None:
    files = (
        ("log.txt", "text/plain", b"Fehler 7"),
        ("page.html", "text/html", b"<p>A page</p>"),
        ("scan.png", "image/png", mails.PNG),
        ("sheet.xlsx", "application/vnd.ms-excel", b"PK"),
    )
    mail = mails._mail("a@b.example", "Files", "<f@b.example>")
    mail.set_content("See the files.")
    for name, kind, data in files:
        maintype, subtype = kind.split("/")
        mail.add_attachment(data, maintype=maintype, subtype=subtype, filename=name)
    document = await read(Mail("together"), record(mail.as_bytes()))
    assert document.fields["text"] == ("See the files.\n\nlog.txt:\nFehler 7\n\npage.html:\nA page")
    assert "file" not in document.fields


@pytest.mark.parametrize("pieces", ["{0}*=x; {0}*0=y", "{0}*0*=x''a; {0}*=''b; {0}=c", "{0}*x=y"])
async def test_parameters_in_pieces_that_do_not_fit_are_as_if_there_were_none(pieces: str) -> None:
    mail = (
        HEAD
        + (
            f"Content-Type: multipart/mixed; {pieces.format('boundary')}\n"
            f"Content-Disposition: inline; {pieces.format('filename')}\n\nwords"
        ).encode()
    )
    assert (await read(Mail(), record(mail))).fields["text"] in {"words", ""}


@pytest.mark.parametrize("value", [b"", b'{"id": 1, "text": "x"}', b"just words", b"\xff\x00" * 99])
async def test_what_has_no_headers_of_a_mail_is_refused(value: bytes) -> None:
    refusal = await refused(Mail(), record(value))
    assert refusal.detail == "This is not an e-mail: it has no headers of one."


def nested(levels: int) -> bytes:
    return HEAD + b"".join(
        b"Content-Type: multipart/mixed; boundary=x%d\n\n--x%d\n" % (at, at) for at in range(levels)
    )


HOSTILE = {
    "parts": HEAD + b"Content-Type: multipart/mixed; boundary=x\n\n" + b"--x\n\na\n" * 80_000,
    "levels": nested(50_000),
    "mails in mails": HEAD + b"Content-Type: message/rfc822\n\n" * 50_000,
    "lines": HEAD + b"\n" * MOST_LINES + b"x",
    "headers": b"a:\n" * MOST_LINES + b"\nx",
    "carriage returns": HEAD + b"\r" * MOST_LINES + b"\nx",
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_a_mail_that_would_cost_memory_is_refused_before_it_does(case: str) -> None:
    refusal = await refused(Mail(), record(HOSTILE[case]))
    assert refusal.reason is DeadLetterReason.TOO_LARGE


@pytest.mark.parametrize(
    "mail",
    [
        pytest.param(HEAD + b"To: " + b"(" * 300_000 + b"\n\nx", id="comments"),
        pytest.param(HEAD + b"To: " + b'(),<"@' * 50_000 + b"\n\nx", id="addresses"),
        pytest.param(HEAD + b"Subject: " + b"=?" * 200_000 + b"\n\nx", id="encoded words"),
        pytest.param(HEAD + b"Content-Type: text/plain;" + b";" * 300_000 + b"\n\nx", id="types"),
        pytest.param(HEAD + b"a: b\n" * 20_000 + b"\nx", id="headers"),
        pytest.param(nested(MOST_DEPTH - 2) + b"\nx", id="levels"),
        pytest.param(
            HEAD + b"Content-Type: multipart/mixed; boundary=x\n\n"
            + (b"--x\nContent-Type: text/plain;" + b'\\";' * 100 + b"\n\nx\n") * (MOST_PARTS - 9),
            id="parameters",
        ),
    ],
)  # fmt: skip
async def test_what_is_long_or_many_within_the_limits_is_read(mail: bytes) -> None:
    document = await read(Mail(), record(mail))
    assert document.fields["text"].startswith("x")
    assert max(map(len, document.about["headers"].values())) <= 4000
    assert len(document.about["headers"]) <= 100


def calls_of(function: Callable[[], object]) -> int:
    """How many functions are called, those in C included: time that no other process takes."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return calls


GROWING = {
    "lines": lambda n: HEAD + b"\n" + b"words\n" * n,
    "quoted lines": lambda n: HEAD + b"In-Reply-To: x\n\nYes.\n" + b"> words\n" * n,
    "senders": lambda n: HEAD + b"In-Reply-To: x\n\nYes.\n" + b"From: x\n" * n,
    "attributions": lambda n: (
        HEAD + b"In-Reply-To: x\n\nYes.\n" + b"On 1 Dec 2026\n" * n + b"a@b:\n>"
    ),
    "signatures": lambda n: HEAD + b"\nYes.\n" + b"-- \n" * n,
    "headers": lambda n: HEAD + b"a: b\n" * n + b"\nYes.",
    "folded header": lambda n: HEAD + b"Subject: b\n" + b" b\n" * n + b"\nYes.",
    "html": lambda n: (
        HEAD + b"Content-Type: text/html\n\n" + b"<p>a<blockquote type=cite>b</p>\n" * n
    ),
    "parts": lambda n: HEAD + b"Content-Type: multipart/mixed; boundary=x\n\n" + b"--x\n\na\n" * n,
}


@pytest.mark.parametrize("case", GROWING)
def test_what_a_mail_costs_grows_with_its_size_alone(case: str) -> None:
    small, large = (
        calls_of(partial(Mail("together")._read, record(GROWING[case](n)))) for n in (100, 200)
    )
    assert large < 2.2 * small
