"""Are the models there, in their places, priced, and does the API let us ask them?

Is there an API key, and is it one?

When models retire: a dated table, from the public page of deprecations and the SDK's own list.

The SDK knows those that were announced when it was made; what is here beside is of that page.

Is what would save money in force: the prompt cache, and second opinions?
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date, datetime
from types import MappingProxyType
from typing import Protocol

from anthropic.resources.messages.messages import DEPRECATED_MODELS

from pipeline.cascade.policies import opinions
from pipeline.cascade.prompt_sizes import prefixes
from pipeline.claude.billing import PriceTable
from pipeline.claude.gateway import Gateway, Probe
from pipeline.claude.request_body import base_id
from pipeline.config import Settings
from pipeline.doctor.check import Finding, Site, failed, ok, warning
from pipeline.model.records import Tier
from pipeline.stages.registry import build_stages

AS_OF = date(2026, 10, 8)
"""When the page was read."""
_OF_THE_PAGE = {
    "claude-3-haiku-20240307": date(2026, 4, 20),
    "claude-3-5-sonnet-20240620": date(2025, 10, 28),
    "claude-3-5-sonnet-20241022": date(2025, 10, 28),
    "claude-3-5-haiku-20241022": date(2026, 2, 19),
    "claude-3-5-haiku-latest": date(2026, 2, 19),
    "claude-opus-4-1-20250805": date(2026, 8, 5),
    "claude-sonnet-4-5": date(2026, 11, 30),
    "claude-sonnet-4-5-20250929": date(2026, 11, 30),
}


def _day(text: str) -> date:
    """A day as the SDK writes it: `February 19th, 2026`.

    Raises:
        ValueError: It is written otherwise.
    """
    month, day, year = text.replace(",", "").split()
    number = day.rstrip("dhnrst")
    return datetime.strptime(f"{month} {number} {year}", "%B %d %Y").date()  # noqa: DTZ007


RETIREMENTS: Mapping[str, date] = MappingProxyType(
    _OF_THE_PAGE | {model: _day(text) for model, text in DEPRECATED_MODELS.items()}
)
"""The day of retirement by model id."""


class Prober(Protocol):
    """Asks the API about the models that are set; `Gateway` is the real one."""

    async def probe(self) -> Sequence[Probe]:
        """One result for each model."""
        ...


Probers = Callable[[Settings], AbstractAsyncContextManager[Prober]]


async def check_access(site: Site, probers: Probers = Gateway) -> Iterable[Finding]:
    """Ask the API about each model that is set; that costs nothing."""
    async with probers(site.settings) as prober:
        probes = await prober.probe()
    return [
        ok("access", f"{probe.model}: {probe.detail}")
        if probe.ok
        else failed(
            "access",
            f"{probe.model}: {probe.detail}",
            why="Intake stops as long as a model cannot be asked; events wait in Kafka.",
            advice="Mend the key, the model's name (models.haiku, models.sonnet), or the way to "
            "the API (ANTHROPIC_BASE_URL, proxies, certificates).",
        )
        for probe in probes
    ]


def check_models(site: Site, today: Callable[[], date] = date.today) -> Iterator[Finding]:
    """Look at the names alone: retired, unknown, swapped, or the same."""
    found = list(_of_names(site.settings, today()))
    yield from found
    if not found:
        models = site.settings.models
        yield ok("models", f"{models.haiku} answers, {models.sonnet} takes what is ambiguous.")


def _of_names(settings: Settings, today: date) -> Iterator[Finding]:
    models = settings.models
    for tier, model in (("haiku", models.haiku), ("sonnet", models.sonnet)):
        yield from _of_name(tier, base_id(model), today)
    if base_id(models.haiku) == base_id(models.sonnet):
        yield warning(
            "models",
            f"models.haiku and models.sonnet are the same, {models.haiku}.",
            why="What is escalated is asked of the same model again, and paid twice.",
            advice="Set models.sonnet to a stronger one.",
        )
    elif "sonnet" in models.haiku and "haiku" in models.sonnet:
        yield failed(
            "models",
            f"models.haiku is {models.haiku} and models.sonnet is {models.sonnet}: swapped.",
            why="Every event would be asked of the expensive model, and the hard ones then of "
            "the weaker.",
            advice="Swap the two settings.",
        )


def _of_name(tier: str, model: str, today: date) -> Iterator[Finding]:
    end = RETIREMENTS.get(model)
    if not model.startswith("claude-"):
        yield warning(
            "models",
            f"models.{tier} is {model!r}, which is not named like a model of Claude.",
            why="The API answers 404 to a name that it does not know.",
            advice=f"Set models.{tier} to an id such as claude-haiku-5-5.",
        )
    elif end is not None and end <= today:
        yield failed(
            "models",
            f"{model} has retired on {end}.",
            why="The API answers 404 to it.",
            advice=f"Set models.{tier} to a present one, such as claude-{tier}-5-5, and evaluate "
            "it: `pipeline evaluate`.",
        )
    elif end is not None:
        yield warning(
            "models",
            f"{model} retires on {end}, as announced by {AS_OF}.",
            why="From that day on the API answers 404 to it, and intake stops.",
            advice=f"Set models.{tier} to another before, and evaluate it: `pipeline evaluate`.",
        )


def check_prices(site: Site) -> Iterator[Finding]:
    """Models without a price have no budget either."""
    prices = PriceTable(site.settings.claude.prices)
    models = site.settings.models
    unknown = [each for each in (models.haiku, models.sonnet) if prices.price(each) is None]
    for model in dict.fromkeys(unknown):
        yield warning(
            "prices",
            f"The price of {model} is not known.",
            why="What it costs is not counted, and no budget holds it back.",
            advice="Set claude.prices for it, from the public price list.",
        )
    if not unknown:
        yield ok("prices", "The price of both models is known.")


KEY = "ANTHROPIC_API_KEY"
TOKEN = "ANTHROPIC_AUTH_TOKEN"  # noqa: S105 - the name of a variable
_ABOUT = "key"
_WRONG_PLACES = (
    "PIPELINE_ANTHROPIC_API_KEY",
    "PIPELINE_API_KEY",
    "PIPELINE_CLAUDE__API_KEY",
    "CLAUDE_API_KEY",
    "ANTHROPIC_KEY",
)
_EXAMPLES = ("...", "your", "xxx", "changeme", "<", "$")
_WHY = "The API would refuse every call; intake would stop, and events would wait."


def check_key(site: Site) -> Iterator[Finding]:
    """Look at the key as a text; what the API says of it is another check."""
    key = site.environment.get(KEY)
    if key:
        yield from _of_key(key)
    elif key is not None and not site.environment.get(TOKEN):
        yield failed(
            _ABOUT, f"{KEY} is empty.", why=_WHY, advice=f"Set {KEY} to a key of the console."
        )
    else:
        yield from _without_key(site)
    if key and site.environment.get(TOKEN):
        yield warning(
            _ABOUT,
            f"{KEY} and {TOKEN} are both set.",
            why="Which of the two is used is the SDK's decision.",
            advice=f"Unset {TOKEN}.",
        )


def _of_key(key: str) -> Iterator[Finding]:
    advice = f"Set {KEY} to the key alone, as the console shows it."
    if key != key.strip() or any(character.isspace() for character in key):
        yield failed(_ABOUT, f"{KEY} has whitespace in it.", why=_WHY, advice=advice)
    elif key[0] in "\"'`" or key[-1] in "\"'`":
        yield failed(
            _ABOUT,
            f"{KEY} has quotes around it.",
            why=f"They are taken for a part of the key. {_WHY}",
            advice=f"{advice} Env files of containers take quotes literally.",
        )
    elif key.lower().startswith(_EXAMPLES):
        yield failed(_ABOUT, f"{KEY} looks like the text of an example.", why=_WHY, advice=advice)
    elif key.startswith("sk-ant-admin"):
        yield failed(
            _ABOUT,
            f"{KEY} is a key of the Admin API.",
            why=f"It may not ask models. {_WHY}",
            advice="Set a key of a workspace.",
        )
    else:
        yield ok(_ABOUT, f"{KEY} is set.")


def _without_key(site: Site) -> Iterator[Finding]:
    astray = [name for name in _WRONG_PLACES if site.environment.get(name)]
    if astray:
        yield failed(
            _ABOUT,
            f"{astray[0]} is set, and {KEY} is not.",
            why=f"The key is read from {KEY} alone. {_WHY}",
            advice=f"Rename the variable to {KEY}.",
        )
    elif site.environment.get(TOKEN):
        yield ok(_ABOUT, f"{TOKEN} is set.")
    else:
        yield warning(
            _ABOUT,
            f"{KEY} is not set.",
            why="Unless the SDK finds other credentials of its own, no call can be made.",
            advice=f"Set {KEY}; or `pipeline local` for a simulated API, which takes any.",
        )


def check_prompts(site: Site) -> Iterator[Finding]:
    """Prompts that are too short for the prompt cache; by estimate, as nobody is asked."""
    if site.settings.claude.prompt_cache == "off":
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
            f"escalation.second_opinion.{name} is set, and none is asked for: {verdict.because}.",
            why="Doubtful answers go to Sonnet at once, as without the setting.",
            advice="Leave it out, or set it to the share that `pipeline evaluate` measured.",
        )
    if not idle:
        asked = ", ".join(verdicts) or "none"
        yield ok("opinions", f"Second opinions are asked for where they pay: {asked}.")
