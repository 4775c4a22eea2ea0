"""Are the models there, in their places, priced, and does the API let us ask them?"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date
from typing import Protocol

from pipeline.claude.gateway import Gateway
from pipeline.claude.models import base_id
from pipeline.claude.prices import PriceTable
from pipeline.claude.status import Probe
from pipeline.doctor.check import Site
from pipeline.doctor.finding import Finding, failed, ok, warning
from pipeline.doctor.retirements import AS_OF, RETIREMENTS
from pipeline.settings import Settings


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
