"""Mails in the shapes of three clients, written for the tests: Gmail, Outlook, Apple Mail."""

import base64
from email.message import EmailMessage

from tests.stages.making import picture

PDF = b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
PNG = picture()

GMAIL_TEXT = """\
Please cancel my order, it arrives too late.

Thanks, Anna

On Mon, Nov 30, 2026 at 9:14 AM Shop Support Team <support@shop.example>
wrote:

> Dear Anna,
>
> your order ships on Friday. On Friday you will get a mail.
>
"""
GMAIL_HTML = """\
<div dir="ltr">Please cancel my order, it arrives too late.<br><br>Thanks, Anna</div><br>
<div class="gmail_quote"><div dir="ltr" class="gmail_attr">On Mon, Nov 30, 2026 at 9:14 AM Shop
Support Team &lt;<a href="mailto:support@shop.example">support@shop.example</a>&gt; wrote:<br></div>
<blockquote class="gmail_quote" style="margin:0px 0px 0px 0.8ex">Dear Anna,<br><br>your order ships
on Friday.<blockquote class="gmail_quote">Where is it?</blockquote></blockquote></div>
"""
OUTLOOK_TEXT = """\
Guten Tag,

bitte schicken Sie mir die Rechnung 4711 noch einmal, der Betrag (12,50 €) stimmt nicht.

Mit freundlichen Grüßen
Jörg Müller



Von: Kundendienst <support@shop.example>
Gesendet: Montag, 30. November 2026 09:14
An: Jörg Müller <joerg@kunde.example>
Betreff: Ihre Rechnung

Sehr geehrter Herr Müller,
anbei Ihre Rechnung.
"""
OUTLOOK_HTML = """\
<html xmlns:o="urn:schemas-microsoft-com:office:office"><head><meta http-equiv="Content-Type"
content="text/html; charset=iso-8859-1"><style><!-- p.MsoNormal {margin:0cm} --></style></head>
<body lang="DE"><div class="WordSection1"><p class="MsoNormal">Guten Tag,<o:p></o:p></p>
<p class="MsoNormal">bitte schicken Sie mir die Rechnung 4711 noch einmal.<o:p></o:p></p>
<p class="MsoNormal"><img src="cid:logo@kunde" width="100"></p>
<div style="border:none;border-top:solid 1.0pt"><p class="MsoNormal"><b>Von:</b> Kundendienst
&lt;support@shop.example&gt;<br><b>Gesendet:</b> Montag, 30. November 2026 09:14<br><b>An:</b> Jörg
Müller<br><b>Betreff:</b> Ihre Rechnung</p></div><p>Sehr geehrter Herr Müller,</p>
</div></body></html>
"""
APPLE_TEXT = """\
Bonjour,

voici la facture demandée.

Envoyé de mon iPhone

> Le 30 nov. 2026 à 09:14, Service client <support@shop.example> a écrit :
>
> Merci de nous envoyer la facture.
"""


def gmail() -> bytes:
    """A reply in plain text and HTML."""
    mail = _mail("Anna Example <anna@mail.example>", "Re: Your order", "<CAF1@mail.gmail.example>")
    mail["In-Reply-To"] = "<o-1@shop.example>"
    mail.set_content(GMAIL_TEXT, cte="quoted-printable")
    mail.add_alternative(GMAIL_HTML, subtype="html")
    return mail.as_bytes()


def outlook() -> bytes:
    """A reply in HTML alone, in the charset of an older Outlook, with a logo that it shows."""
    mail = _mail("Jörg Müller <joerg@kunde.example>", "AW: Ihre Rechnung über Öl", "<AM0@kunde>")
    mail.set_content(OUTLOOK_HTML, subtype="html", charset="iso-8859-1", cte="quoted-printable")
    mail.add_related(PNG, "image", "png", cid="<logo@kunde>", filename="image001.png")
    mail.add_attachment(
        PDF, maintype="application", subtype="octet-stream", filename="Rechnung.PDF"
    )
    return mail.as_bytes()


def apple() -> bytes:
    """Text, a PDF shown in the midst of it, and text again."""
    boundary = "Apple-Mail-1B2C"
    first, last = APPLE_TEXT.split("Envoyé")
    return "\r\n".join([
        "From: =?utf-8?Q?H=C3=A9l=C3=A8ne?= <helene@client.example>",
        "To: support@shop.example, facturation@shop.example",
        "Subject: =?utf-8?Q?Re=3A_Facture_=C3=A0_?=\r\n =?utf-8?Q?payer?=",
        "Date: Mon, 30 Nov 2026 10:20:00 +0100",
        "Message-Id: <9A8B@client.example>",
        "References: <r-1@shop.example>",
        "Mime-Version: 1.0 (Mac OS X Mail 16.0)",
        f"Content-Type: multipart/mixed; boundary={boundary}",
        "",
        f"--{boundary}",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: base64",
        "",
        base64.encodebytes(first.encode()).decode(),
        f"--{boundary}",
        "Content-Type: application/pdf; x-unix-mode=0644; name*=utf-8''facture%20%C3%A9.pdf",
        "Content-Disposition: inline; filename*=utf-8''facture%20%C3%A9.pdf",
        "Content-Transfer-Encoding: base64",
        "",
        base64.encodebytes(PDF).decode(),
        f"--{boundary}",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
        "",
        f"Envoyé{last}",
        f"--{boundary}--",
        "",
    ]).encode()  # fmt: skip


def _mail(sender: str, subject: str, message_id: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = sender, "Support <support@shop.example>", subject
    mail["Date"], mail["Message-ID"] = "Mon, 30 Nov 2026 09:20:00 +0000", message_id
    return mail


def mail_with(*pictures: str) -> bytes:
    """A mail to which pictures of these names are attached."""
    mail = _mail("a@b.example", "Photos", "<m-1@b.example>")
    mail.set_content("As promised.")
    for name in pictures:
        mail.add_attachment(PNG, maintype="image", subtype="png", filename=name)
    return mail.as_bytes()
