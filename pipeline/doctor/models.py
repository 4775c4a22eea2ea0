"""Does the API accept the key, does it know the models, and is their price known?"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from anthropic.resources.messages.messages import DEPRECATED_MODELS

from pipeline.claude.gateway import Gateway
from pipeline.claude.models import base_id
from pipeline.claude.prices import PriceTable
from pipeline.claude.status import Probe
from pipeline.doctor.finding import Finding, failed, ok, warning
from pipeline.settings import Settings

_BASE_URL = "ANTHROPIC_BASE_URL"


class Prober(Protocol):
    """Asks the API about the models that are set; `Gateway` is the real one."""

    async def probe(self) -> Sequence[Probe]:
        """One result for each model."""
        ...


Probers = Callable[[Settings], AbstractAsyncContextManager[Prober]]


async def check_models(settings: Settings, probers: Probers = Gateway) -> list[Finding]:
    """Ask the API about each model that is set."""
    async with probers(settings) as prober:
        probes = await prober.probe()
    return [
        ok("models", f"{probe.model}: {probe.detail}")
        if probe.ok
        else failed("models", f"{probe.model}: {probe.detail}")
        for probe in probes
    ]


def check_address(environment: Mapping[str, str] = os.environ) -> Finding:
    """Say where requests go: a forgotten variable sends them to the wrong place."""
    where = environment.get(_BASE_URL)
    if where is None:
        return ok("api", "Requests go to the API of Anthropic.")
    return ok("api", f"Requests go to {where}, as {_BASE_URL} says.")


def check_model_names(settings: Settings) -> list[Finding]:
    """Look the models up in the SDK's list of ends and in the table of prices."""
    return list(_of_names(settings))


def _of_names(settings: Settings) -> Iterator[Finding]:
    prices = PriceTable(settings.claude.prices)
    for tier, model in (("haiku", settings.models.haiku), ("sonnet", settings.models.sonnet)):
        end = DEPRECATED_MODELS.get(base_id(model))
        if end is not None:
            yield warning(
                "models",
                f"{model} retires, or has retired, on {end}: set models.{tier} to another.",
            )
        if prices.price(model) is None:
            yield warning(
                "prices",
                f"The price of {model} is not known, so costs and budgets are not, either: set "
                "claude.prices for it.",
            )
