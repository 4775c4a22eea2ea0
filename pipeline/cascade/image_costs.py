"""What an image costs at each size at which it may be sent, before anything is asked. Pure."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from pipeline.claude.billing import PriceTable, Tokens
from pipeline.claude.model_facts import known
from pipeline.claude.workloads import CostReport, Models
from pipeline.config import Settings
from pipeline.model.errors import UsageError
from pipeline.model.questions import ImageLimits
from pipeline.stages.files.pictures import MAX_TILES, Size, TooLong, tiles_of, visual_tokens

EDGES = (1024, 1568, 2048)
"""Long edges that are worth a look, beside the longest that a model sees."""
_SIZE = re.compile(r"([1-9]\d{0,5})x([1-9]\d{0,5})")


@dataclass(frozen=True, slots=True)
class ImageCost:
    """One image, asked about once: `sent` are the sizes of its parts, mostly one."""

    model: str
    long_edge: int
    sent: Sequence[Size]
    tokens: int
    usd_per_thousand: Decimal | None


def image_costs(size: Size, models: Models, prices: PriceTable) -> Iterator[ImageCost]:
    """At each long edge, for the models of both tiers.

    Raises:
        TooLong: It takes more parts than are sent.
    """
    for model in dict.fromkeys((models.haiku, models.sonnet)):
        seen = known(model).images
        for edge in (*(each for each in EDGES if each < seen.long_edge), seen.long_edge):
            sent = [tile.size for tile in tiles_of(size, ImageLimits(edge, seen.tokens))]
            tokens = sum(map(visual_tokens, sent))
            regional = model in models.regional
            cost = prices.cost(model, Tokens(input=tokens), regional=regional)
            yield ImageCost(model, edge, sent, tokens, None if cost is None else cost * 1000)


def of_image(settings: Settings, size: str) -> CostReport:
    """The same as a table; `size` is WIDTHxHEIGHT, UsageError where it is no such thing."""
    found = _SIZE.fullmatch(size)
    if found is None:
        raise UsageError(f"{size!r} is not the size of an image: write it as 2480x3508.")
    models, prices = Models.of(settings.models), PriceTable(settings.claude.prices)
    try:
        rows = list(image_costs((int(found[1]), int(found[2])), models, prices))
    except TooLong as error:
        raise UsageError(
            f"An image of {size} takes {error.tiles} parts; {MAX_TILES} at most are sent."
        ) from None
    cells = [
        (
            row.model,
            f"{row.long_edge:,}",
            shown(row.sent),
            f"{row.tokens:,}",
            "unknown" if row.usd_per_thousand is None else f"${row.usd_per_thousand:,.2f}",
        )
        for row in rows
    ]
    headings = ("Model", "image_long_edge", "Sent as", "Tokens", "1,000 images")
    return CostReport(rows, headings, cells, ["The prompt and the answer come on top."])


def shown(sent: Sequence[Size]) -> str:
    width, height = sent[0]
    parts = f"{len(sent)} × " if len(sent) > 1 else ""
    return f"{parts}{width} × {height}"
