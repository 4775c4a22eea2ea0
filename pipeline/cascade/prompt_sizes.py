"""How long the static parts of the prompts are, before anything is asked: an estimate.

The API caches no prefix that is shorter than a model's minimum, and says nothing of it.
"""

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import orjson
import structlog

from pipeline.cascade.reading import of_stage
from pipeline.claude.prompts import TOKENS_PER_BYTE, Prompts
from pipeline.config import Settings
from pipeline.model.errors import InvalidEvent, PipelineError
from pipeline.model.questions import Question, first_questions
from pipeline.model.records import Tier
from pipeline.stages.api import Stage

log = structlog.get_logger(__name__)
_A_TEXT = orjson.dumps(
    {"id": "x", "body": "x", "text": "x", "query": "x", "language": "python", "source": "x = 1\n"}
)
"""Has what the stages that take text want; what one does not know it leaves alone."""
_AN_IMAGE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2FAAAAABJRU5ErkJggg=="
)
"""A white pixel, as PNG, for those that take files alone."""
_SPECIMENS = ((_A_TEXT, b"application/json"), (_AN_IMAGE, b"image/png"))


@dataclass(frozen=True, slots=True)
class Prefix:
    """The static part of a stage's prompt to a model; not cached below `fewest` tokens.

    Tokens are estimated from bytes. The answer's schema is not counted: where in the prompt the API
    puts it is not published.
    """

    stage: str
    model: str
    tokens: int
    fewest: int

    @property
    def is_too_short(self) -> bool:
        return self.tokens < self.fewest


def prefixes(
    settings: Settings, stages: Iterable[Stage[Any, Any]], tiers: Iterable[Tier]
) -> Iterator[Prefix]:
    """What each stage would send to each tier.

    A stage that takes no event which is made up here is left out.
    """
    prompts = Prompts(settings.claude, clock=lambda: 0.0)
    masking = settings.privacy.masking()
    for stage, tier in product(stages, tiers):
        if (question := _specimen(stage)) is not None:
            endpoint = settings.models.of(tier)
            template = prompts.of(masking.explained(question), tier, endpoint).template
            tokens = int(template.marked_bytes * TOKENS_PER_BYTE)
            yield Prefix(stage.name, endpoint.model, tokens, template.traits.cacheable_tokens)


def log_prefixes(found: Iterable[Prefix]) -> None:
    for prefix in found:
        write, size = log.info, "long enough"
        if prefix.is_too_short:
            write, size = log.warning, "too short"
        sizes = {"estimated_tokens": prefix.tokens, "minimum_tokens": prefix.fewest}
        about = {"stage": prefix.stage, "model": prefix.model, **sizes}
        write("prompt_cache", static_part=f"{size} to be cached", **about)


def _specimen(stage: Stage[Any, Any]) -> Question[Any] | None:
    for value, content_type in _SPECIMENS:
        headers = {"content-type": content_type}
        try:
            event = of_stage(stage.name, stage.parse, value, key=b"x", headers=headers)
            query = of_stage(stage.name, stage.question, event)
        except (InvalidEvent, PipelineError):
            continue
        return first_questions(query)[0]
    return None
