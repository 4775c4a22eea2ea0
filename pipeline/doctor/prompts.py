"""Is what would save money in force: the prompt cache, and second opinions?"""

from collections.abc import Iterator

from pipeline.doctor.check import Site
from pipeline.doctor.finding import Finding, ok, warning
from pipeline.events import Tier
from pipeline.processing.policies import opinions
from pipeline.processing.prefixes import prefixes
from pipeline.stages.registry import build_stages


def check_prompts(site: Site) -> Iterator[Finding]:
    """Prompts that are too short for the prompt cache; by estimate, as nobody is asked."""
    if not site.settings.claude.prompt_cache:
        yield ok("prompts", "The prompt cache is switched off (claude.prompt_cache).")
        return
    settings = site.settings
    built = build_stages(settings.stages)
    enabled = [built[name] for name in settings.enabled if name in built]
    short = [
        f"{prefix.stage} to {prefix.model} (about {prefix.tokens:,} of {prefix.fewest:,})"
        for prefix in prefixes(settings, enabled, Tier)
        if prefix.is_too_short
    ]
    if short:
        yield warning(
            "prompts",
            f"By estimate too short for the prompt cache, in tokens: {', '.join(short)}.",
            why="The API caches no shorter prefix and says nothing of it; each call then pays for "
            "its whole prompt, and that counts against the limit of input tokens.",
            advice="Give the labels of the stage descriptions and examples, which help the "
            "answers, too; or take no notice: a prompt that short costs little.",
        )
    else:
        yield ok("prompts", "By estimate, the prompts are long enough for the prompt cache.")


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
