"""Is what would save money in force: the prompt cache, and second opinions?"""

from collections.abc import Iterator
from typing import Any

import orjson

from pipeline.app import opinions
from pipeline.claude.estimates import TOKENS_PER_BYTE
from pipeline.claude.prompts import Prompts
from pipeline.doctor.check import Site
from pipeline.doctor.finding import Finding, ok, warning
from pipeline.errors import Invalid, PipelineError
from pipeline.events import Tier
from pipeline.questions import Inquiry, Question
from pipeline.settings import Settings
from pipeline.stages.registry import build_stages

_AN_EVENT = orjson.dumps(
    {"id": "x", "body": "x", "text": "x", "query": "x", "language": "python", "source": "x = 1\n"}
)
"""Has what the stages that take text want; what one does not know it leaves alone."""


def check_prompts(site: Site) -> Iterator[Finding]:
    """Prompts that are too short for the prompt cache; by estimate, as nobody is asked."""
    if not site.settings.claude.prompt_cache:
        yield ok("prompts", "The prompt cache is switched off (claude.prompt_cache).")
        return
    short = [
        f"{stage} to {model} (about {tokens:,} of {least:,})"
        for stage, model, tokens, least in _prompts(site.settings)
        if tokens < least
    ]
    if short:
        yield warning(
            "prompts",
            f"Too short for the prompt cache, in tokens: {', '.join(short)}.",
            why="The API caches no shorter prefix and says nothing of it; each call then pays for "
            "its whole prompt, and that counts against the limit of input tokens.",
            advice="Give the labels of the stage descriptions and examples, which help the "
            "answers, too; or take no notice: a prompt that short costs little.",
        )
    else:
        yield ok("prompts", "By estimate, the prompts are long enough for the prompt cache.")


def _prompts(settings: Settings) -> Iterator[tuple[str, str, int, int]]:
    """Stage, model, estimated tokens of the static part, and the fewest that are cached."""
    prompts = Prompts(settings.claude, clock=lambda: 0.0)
    tiers = ((Tier.HAIKU, settings.models.haiku), (Tier.SONNET, settings.models.sonnet))
    for name, stage in build_stages(settings.stages).items():
        if name not in settings.enabled:
            continue
        try:
            event = stage.parse(_AN_EVENT, key=None, headers={})
            question = _first(stage.question(event))
        except (Invalid, PipelineError):
            continue  # it takes files alone, and an image is more than any prompt
        for tier, model in tiers:
            template = prompts.of(question, tier, model).template
            tokens = int(template.static_bytes * TOKENS_PER_BYTE)
            yield name, model, tokens, template.traits.cacheable_tokens


def _first(inquiry: Inquiry[Any]) -> Question[Any]:
    return inquiry if isinstance(inquiry, Question) else inquiry.questions[0]


def check_opinions(site: Site) -> Iterator[Finding]:
    """Second opinions that are set and cost more than they spare."""
    verdicts = opinions(site.settings, build_stages(site.settings.stages))
    idle = {name: verdict for name, verdict in verdicts.items() if not verdict.pays}
    for name, verdict in idle.items():
        yield warning(
            "opinions",
            f"stages.{name}.second_opinion is enabled and is not asked for: {verdict.because}.",
            why="Doubtful answers go to Sonnet at once, as without the setting.",
            advice="Switch it off, or set its `spares` to what `pipeline evaluate` measured.",
        )
    if not idle:
        asked = ", ".join(verdicts) or "none"
        yield ok("opinions", f"Second opinions are asked for where they pay: {asked}.")
