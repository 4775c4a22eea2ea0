"""Who issued a document and who it is for."""

import re
from collections.abc import Sequence

from pipeline.local.simulated.answering.labelled import LABELS, Labels
from pipeline.local.simulated.answering.layout import Layout

_LEGAL_FORM = re.compile(
    r"(?<![\w.])(?:gmbh(?: & co\.? kg)?|ag|kg|ug|ohg|gbr|e\.\s?k\.|e\.\s?v\.|se|ltd|limited|llc|"
    r"llp|plc|inc|corp|corporation|pty|sdn\.?\s?bhd|bhd|plt|s\.?a\.?r\.?l|s\.?a\.?s\.?u?|s\.?a|"
    r"s\.?l\.?u?|s\.?r\.?l|b\.?v|n\.?v|oy|ab|aps|a/s|sp\. z o\.o)\.?(?!\w)",
    re.IGNORECASE,
)
_TRADE = re.compile(
    r"\b(?:enterprise|trading|company|co\.?|& (?:sons|söhne|co|fils)|brothers|bros|shop|store|café|"
    r"cafe|restaurant|hotel|studio|werkstatt|bäckerei|buchhandlung|services?|solutions|consulting|"
    r"supplies|logistics|software|systems|restoran|kedai|hardware|stationery|pharmacy|market)\W*$",
    re.IGNORECASE,
)
_NO_NAME = re.compile(
    r"^(?:(?:tax |simplified |pro forma )?(?:invoice|receipt|bill|credit note|statement)\b.{0,20}|"
    r"rechnung|gutschrift|quittung|facture|avoir|reçu|factura|recibo|page \d.*|seite \d.*|"
    r"handelsrechnung.*|.*\b(?:siret|capital|iban|bic|swift|tva|ust-id\w*|vat|hrb)\b.*|"
    r"original|copy|kopie|welcome.*|thank.*|customer copy|cash|date.*|datum.*|tel.*|phone.*|fax.*|"
    r".*(?:www\.|http|@).*|(?:gst|vat|reg|co|company)\b.*(?:no|id|reg).*|[\W\d]*)$",
    re.IGNORECASE,
)
_ADDRESS = re.compile(
    r"straße|strasse|str\.|\b(?:street|st\.|road|rd|avenue|ave|lane|jalan|jln|rue|boulevard|calle|"
    r"avda|platz|allee|lot|floor|suite|taman|p\.?o\.? ?box)\b|weg \d|\bno[.:]?\s?\d|^\d{4,6} \w|"
    r"\b\d{5}\b",
    re.IGNORECASE,
)
_INNER_LABEL = re.compile(
    r"^(?:name|company|firma|nom|nombre|handelsname|sitz)\s*[:.]?\s*", re.IGNORECASE
)
_TOP_LINES = 12
_SHORTEST = 2


def party(labels: Labels, layout: Layout, role: str) -> tuple[str | None, float]:
    """The name of a party.

    Args:
        labels: The labelled values.
        layout: The document.
        role: `vendor` or `buyer`.

    Returns:
        The name as printed and how sure that is.
    """
    if named := _name_after_heading(layout, role):
        return named, 0.9
    block: list[str] = []
    for found in labels.of(role):
        value = _INNER_LABEL.sub("", found.value).strip(" :")
        if _is_name(value):
            block.append(value)
    if block:
        companies = [name for name in block[:3] if _LEGAL_FORM.search(name)]
        return _trim((companies or block)[0]), 0.9
    return _at_the_top(layout) if role == "vendor" else (None, 0.5)


def _name_after_heading(layout: Layout, role: str) -> str | None:
    """`Seller` as a heading, and some lines below it `Name: ...`."""
    for cell in layout:
        if LABELS.exactly(cell.text) != role:
            continue
        for line in range(cell.line + 1, min(len(layout.lines), cell.line + 6)):
            first = layout.lines[line][0]
            if LABELS.exactly(first.text.partition(":")[0]) == "name":
                right = layout.right_of(first)
                value = first.text.partition(":")[2].strip() or (right.text if right else "")
                if value:
                    return _trim(value)
    return None


def _at_the_top(layout: Layout) -> tuple[str | None, float]:
    top = layout.lines[:_TOP_LINES]
    head = [_trim(_behind_label(cells[0].text)) for cells in top]
    wide = [_trim(_behind_label(cell.text)) for cells in top for cell in cells]
    for pattern, sure in ((_LEGAL_FORM, 0.85), (_TRADE, 0.7)):
        for i, line in enumerate(head):
            if pattern.search(line) and _is_name(line):
                return _trim(_joined(head, i)), sure
        for line in wide:
            if pattern.search(line) and _is_name(line):
                return _trim(line), sure - 0.05
    for line in head:
        if _is_name(line):
            return _trim(line), 0.6
    return None, 0.3


def _behind_label(text: str) -> str:
    return text.rpartition(": ")[2].strip()


def _joined(head: Sequence[str], at: int) -> str:
    """A name that runs over several lines: its last line is little more than a legal form."""
    name = head[at]
    while at > 0:
        bare = _LEGAL_FORM.sub("", re.sub(r"\([^()]*\)", "", name)).split()
        broken = name.count(")") > name.count("(")
        begins_late = bool(bare) and _TRADE.fullmatch(bare[0]) is not None
        if not (broken or len(bare) <= 1 or begins_late) or not _is_name(head[at - 1]):
            break
        at -= 1
        name = f"{head[at]} {name}"
    return name


def _is_name(text: str) -> bool:
    letters = sum(character.isalpha() for character in text)
    return (
        letters > _SHORTEST
        and letters >= len(text.replace(" ", "")) / 2
        and not _NO_NAME.match(text)
        and not _ADDRESS.search(text)
        and LABELS.exactly(text) is None
    )


def _trim(name: str) -> str:
    """Without registration numbers in brackets, and what follows a legal form after a comma."""
    name = re.sub(r"\s*\([^)]*\d[^)]*\)?|\s+\d{4,}[-\w]*$|\s[-–·|•]\s.*", "", name)
    return re.sub(r"\s+", " ", name.split(", ")[0]).strip(" ,;:-*")
