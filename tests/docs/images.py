"""The table of what a picture costs, in docs/OPERATIONS.md: `python -m tests.docs.images`."""

import re
from collections.abc import Iterator
from pathlib import Path

from pipeline.cascade.image_costs import ImageCost, image_costs, shown
from pipeline.claude.billing import PriceTable
from pipeline.claude.model_facts import PRICES_AS_OF
from pipeline.claude.workloads import Models

DOCUMENT = Path(__file__).parents[2] / "docs" / "OPERATIONS.md"
SECTION = re.compile(r"(?<=<!-- computed: images -->\n).*?(?=<!-- end: images -->)", re.DOTALL)
PICTURES = {
    "A4, scanned at 300 dpi": (2480, 3508),
    "A4, scanned at 150 dpi": (1240, 1754),
    "photo of 12 megapixels": (4032, 3024),
    "screen of a telephone": (1170, 2532),
    "till receipt, a long photo": (1080, 5400),
}
_HEAD = """\
| picture | `image_long_edge` | sent as | tokens | Haiku 5.5 | Sonnet 5.5 |
|---|---|---|---|---|---|"""


def table() -> str:
    return "\n".join([_HEAD, *_rows(), "", f"At the prices of {PRICES_AS_OF:%d %B %Y}.", ""])


def _rows() -> Iterator[str]:
    prices = PriceTable()
    for name, size in PICTURES.items():
        by_edge: dict[int, list[ImageCost]] = {}
        for cost in image_costs(size, Models(), prices):
            by_edge.setdefault(cost.long_edge, []).append(cost)
        for row, (edge, (haiku, sonnet)) in enumerate(by_edge.items()):
            usd = (f"${cost.usd_per_thousand:,.2f}" for cost in (haiku, sonnet))
            picture = "" if row else f"{name}, {size[0]} × {size[1]}"
            cells = (picture, f"{edge:,}", shown(haiku.sent), f"{haiku.tokens:,}", *usd)
            yield f"| {' | '.join(cells)} |"


def document() -> str:
    """The document, with the table as it is now."""
    return SECTION.sub(lambda _: table(), DOCUMENT.read_text("utf-8"))


if __name__ == "__main__":
    DOCUMENT.write_text(document(), "utf-8")
