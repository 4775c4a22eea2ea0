"""The document images: what is on them, and how they were taken."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from rendering import displays, prose, tables
from rendering.picture import Format, Look, encode, to_image
from rendering.sheet import Ink, Sheet

DocumentType = Literal["invoice", "receipt", "contract", "form", "letter", "other"]

CREAM: Ink = (250, 245, 230)
GREYISH: Ink = (236, 236, 238)
ROSE: Ink = (250, 236, 234)


@dataclass(frozen=True, slots=True)
class Picture:
    """A document image.

    Args:
        name: What it shows, in a word or two.
        declared: What its content type says, if that is not what it is.
        legible: Whether a person can read it.
        moderation: Whether a moderator should see it.
    """

    id: str
    name: str
    kind: Format
    document_type: DocumentType
    draw: Callable[[], Sheet]
    look: Look
    language: str = "en"
    declared: Format | None = None
    legible: bool = True
    moderation: bool = False

    def render(self) -> bytes:
        """The bytes of the file."""
        return encode(to_image(self.draw(), self.look), self.kind)


def _phone(rotation: float, seed: int, paper: Ink = CREAM) -> Look:
    """Photographed by hand: a little turned, grainy, not quite bright."""
    return Look(1.45, paper, rotation, grain=0.3, blur=0.5, brightness=0.92, seed=seed)


CLEAN = Look()
SCAN = Look(1.45, GREYISH, rotation=0.5, grain=0.12, seed=11)

PICTURES = (
    Picture("D-4001", "garage invoice", "PNG", "invoice", tables.garage_invoice, CLEAN),
    Picture("D-4002", "florist invoice", "WEBP", "invoice", tables.florist_invoice, SCAN, "nl"),
    Picture(
        "D-4003", "lesson invoice", "JPEG", "invoice", tables.lesson_invoice, _phone(-1.2, 3), "es"
    ),
    Picture("D-4004", "till receipt", "JPEG", "receipt", tables.till_receipt, _phone(1.6, 4)),
    Picture(
        "D-4005",
        "café receipt",
        "PNG",
        "receipt",
        tables.cafe_receipt,
        Look(1.6, ROSE, rotation=-0.8),
        "de",
    ),
    Picture("D-4006", "taxi receipt", "WEBP", "receipt", tables.taxi_receipt, _phone(-2.0, 6)),
    Picture("D-4007", "tenancy agreement", "PNG", "contract", prose.tenancy_agreement, CLEAN),
    Picture(
        "D-4008",
        "confidentiality agreement",
        "JPEG",
        "contract",
        prose.confidentiality_agreement,
        SCAN,
    ),
    Picture(
        "D-4009", "employment contract", "GIF", "contract", prose.employment_contract, CLEAN, "de"
    ),
    Picture("D-4010", "membership form", "JPEG", "form", tables.membership_form, _phone(0.9, 10)),
    Picture("D-4011", "claim form", "PNG", "form", tables.claim_form, CLEAN),
    Picture("D-4012", "visitor form", "WEBP", "form", tables.visitor_form, SCAN, "nl"),
    Picture("D-4013", "council letter", "JPEG", "letter", prose.council_letter, SCAN),
    Picture(
        "D-4014", "cancellation letter", "GIF", "letter", prose.cancellation_letter, CLEAN, "de"
    ),
    Picture(
        "D-4015",
        "thank-you letter",
        "PNG",
        "letter",
        prose.thank_you_letter,
        Look(1.4, CREAM),
        "fr",
    ),
    Picture("D-4016", "concert poster", "PNG", "other", displays.concert_poster, Look(1.3)),
    Picture("D-4017", "soup menu", "JPEG", "other", displays.soup_menu, _phone(-0.6, 17)),
    Picture("D-4018", "rainfall chart", "GIF", "other", displays.rainfall_chart, Look(1.3)),
    Picture(
        "D-4019",
        "threatening note",
        "JPEG",
        "other",
        displays.threatening_note,
        _phone(1.1, 19, GREYISH),
        moderation=True,
    ),
    Picture(
        "D-4020",
        "letter in the dark",
        "JPEG",
        "letter",
        prose.council_letter,
        Look(1.2, GREYISH, rotation=4, grain=0.6, blur=6, brightness=0.16, seed=20),
        legible=False,
    ),
    Picture(
        "D-4021",
        "JPEG declared as PNG",
        "JPEG",
        "receipt",
        tables.cafe_receipt,
        Look(1.2),
        "de",
        declared="PNG",
    ),
)
