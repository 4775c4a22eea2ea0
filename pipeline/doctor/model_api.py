"""The key, the way to the API, its clock, and the models: are they there, priced, well asked?"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import date
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import SplitResult, urlsplit

import aiohttp

from pipeline.cascade.policy import opinions
from pipeline.cascade.prompt_sizes import prefixes
from pipeline.claude.billing import PriceTable
from pipeline.claude.gateway import Gateway
from pipeline.claude.model_facts import (
    PARTNERS_OWN_SCHEDULE,
    RETIREMENTS_AS_OF,
    ModelFacts,
    facts_of,
)
from pipeline.claude.model_ids import base_id
from pipeline.claude.probes import Probe
from pipeline.config import Settings
from pipeline.doctor.examination import Finding, Site, failed, ok, warning
from pipeline.model.records import Tier
from pipeline.observe.web import is_loopback
from pipeline.stages.api import build_stages

KEY = "ANTHROPIC_API_KEY"
TOKEN = "ANTHROPIC_AUTH_TOKEN"  # noqa: S105 - the name of a variable
BASE_URL = "ANTHROPIC_BASE_URL"
PUBLIC = "https://api.anthropic.com"
_WRONG_PLACES = (
    "PIPELINE_ANTHROPIC_API_KEY",
    "PIPELINE_API_KEY",
    "PIPELINE_CLAUDE__API_KEY",
    "CLAUDE_API_KEY",
    "ANTHROPIC_KEY",
)
_EXAMPLES = ("...", "your", "xxx", "changeme", "<", "$")
_WHY = "The API would refuse every call; intake would stop, and events would wait."
_CREDENTIALS = re.compile("//[^/?#]*@")
_SKEW = 5.0
"""Seconds; dates of HTTP have whole ones, and the answer takes its time."""
_WITHIN = 10.0


def check_key(site: Site) -> Iterator[Finding]:
    """Finds no API key, an empty one, one with quotes or whitespace, an example's, an Admin key,
    one under another variable's name.
    """
    if not any(
        place.provider == "anthropic" and place.key_file is None
        for _, place in site.settings.models.places()
    ):
        yield ok(f"{KEY} is not needed.")
        return
    key, token = site.environment.get(KEY), site.environment.get(TOKEN)
    misplaced = [name for name in _WRONG_PLACES if site.environment.get(name)]
    if key:
        yield _of_key(key)
        if token:
            yield warning(
                f"{KEY} and {TOKEN} are both set.",
                why="Which of the two is used is the SDK's decision.",
                advice=f"Unset {TOKEN}.",
            )
    elif key is not None and not token:
        yield failed(f"{KEY} is empty.", why=_WHY, advice=f"Set {KEY} to a key of the console.")
    elif misplaced:
        yield failed(
            f"{misplaced[0]} is set, and {KEY} is not.",
            why=f"The key is read from {KEY} alone. {_WHY}",
            advice=f"Rename the variable to {KEY}.",
        )
    elif token:
        yield ok(f"{TOKEN} is set.")
    else:
        yield warning(
            f"{KEY} is not set.",
            why="Unless the SDK finds other credentials of its own, no call can be made.",
            advice=f"Set {KEY}; or `pipeline local` for a simulated API, which takes any.",
        )


def _of_key(key: str) -> Finding:
    advice = f"Set {KEY} to the key alone, as the console shows it."
    if key != key.strip() or any(character.isspace() for character in key):
        return failed(f"{KEY} has whitespace in it.", why=_WHY, advice=advice)
    if key[0] in "\"'`" or key[-1] in "\"'`":
        return failed(
            f"{KEY} has quotes around it.",
            why=f"They are taken for a part of the key. {_WHY}",
            advice=f"{advice} Env files of containers take quotes literally.",
        )
    if key.lower().startswith(_EXAMPLES):
        return failed(f"{KEY} looks like the text of an example.", why=_WHY, advice=advice)
    if key.startswith("sk-ant-admin"):
        return failed(
            f"{KEY} is a key of the Admin API.",
            why=f"It may not ask models. {_WHY}",
            advice="Set a key of a workspace.",
        )
    return ok(f"{KEY} is set.")


def check_address(site: Site) -> Iterator[Finding]:
    """Finds a base URL that is not a URL, ends with /v1, was forgotten, or has no TLS."""
    address = site.environment.get(BASE_URL)
    if address is None:
        yield ok("Requests go to the API of Anthropic.")
        return
    url = _split(address.strip())
    address = _CREDENTIALS.sub("//***@", address)
    advice = f"Set {BASE_URL} to scheme, host and port alone, or unset it for {PUBLIC}."
    if address != address.strip() or url is None:
        yield failed(
            f"{BASE_URL} is {address!r}, which is no address.",
            why="No call could be made.",
            advice=advice,
        )
    elif url.path.rstrip("/").endswith(("/v1", "/messages")):
        yield failed(
            f"{BASE_URL} ends with {url.path}.",
            why="The SDK adds /v1/messages itself, so every call would get a 404.",
            advice=advice,
        )
    elif url.scheme == "http" and not is_loopback(url.hostname or ""):
        yield warning(
            f"Requests go to {address}, as {BASE_URL} says, without TLS.",
            why="The key and the content of events can be read on the way.",
            advice="Use https, unless the network is yours alone.",
        )
    else:
        yield ok(f"Requests go to {address}, as {BASE_URL} says.")


def _split(address: str) -> SplitResult | None:
    """The parts of an address that can be called; None if it cannot."""
    try:
        url = urlsplit(address)
        # A port is looked at only when it is asked for.
        is_address = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        return None
    return url if is_address else None


async def check_clock(site: Site) -> AsyncIterator[Finding]:
    """Finds a clock that is wrong."""
    url = site.environment.get(BASE_URL, PUBLIC).strip()
    try:
        async with (
            asyncio.timeout(_WITHIN),
            aiohttp.ClientSession(trust_env=True) as session,
            session.get(f"{url.rstrip('/')}/v1/models") as answer,
        ):
            date = answer.headers.get("date", "")
        ahead = site.now() - parsedate_to_datetime(date).timestamp()
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        yield ok("It was not compared: nothing at the API's address gives the time.")
        return
    if abs(ahead) > _SKEW:
        yield warning(
            f"The clock here is {abs(ahead):,.0f} s {'ahead of' if ahead > 0 else 'behind'} "
            "the API's.",
            why="Ages of events, budgets of the hour and the day, and waits until a given time "
            "are wrong by that; TLS fails where it is a lot.",
            advice="Set the clock: `timedatectl set-ntp true`, or the host's, for a container.",
        )


def check_models(site: Site) -> Iterator[Finding]:
    """Finds a model that is not Claude's, is the same as the other; Haiku and Sonnet swapped."""
    models, found = site.settings.models, list[Finding]()
    haiku, sonnet = models.haiku.model, models.sonnet.model
    for tier, endpoint in (("haiku", models.haiku), ("sonnet", models.sonnet)):
        if endpoint.provider != "foundry" and not base_id(endpoint.model).startswith("claude-"):
            found.append(
                warning(
                    f"models.{tier} is {endpoint.model!r}, which is not named like a model of "
                    "Claude.",
                    why="The API answers 404 to a name that it does not know.",
                    advice=f"Set models.{tier} to an id such as claude-haiku-5-5.",
                )
            )
    if base_id(haiku) == base_id(sonnet):
        found.append(
            warning(
                f"models.haiku and models.sonnet are the same, {haiku}.",
                why="What is escalated is asked of the same model again, and paid twice.",
                advice="Set models.sonnet to a stronger one.",
            )
        )
    elif "sonnet" in haiku and "haiku" in sonnet:
        found.append(
            failed(
                f"models.haiku is {haiku} and models.sonnet is {sonnet}: swapped.",
                why="Every event would be asked of the expensive model, and the hard ones then of "
                "the weaker.",
                advice="Swap the two settings.",
            )
        )
    yield from found or [ok(f"{haiku} answers, {sonnet} takes what is ambiguous.")]


def check_prices(site: Site) -> Iterator[Finding]:
    """Finds a model whose price is not known."""
    prices, models = PriceTable(site.settings.claude.prices), site.settings.models
    for model in dict.fromkeys(place.model for _, place in models.places()):
        if prices.price(model) is None:
            yield warning(
                f"The price of {model} is not known.",
                why="What it costs is not counted, and no budget holds it back.",
                advice="Set claude.prices for it, from the public price list.",
            )


def check_prompts(site: Site) -> Iterator[Finding]:
    """Finds a prompt that is too short for the prompt cache."""
    settings = site.settings
    if settings.claude.prompt_cache == "off":
        yield ok("The prompt cache is switched off (claude.prompt_cache).")
        return
    built = build_stages(settings.stages)
    enabled = [built[name] for name in settings.enabled if name in built]
    short = [
        f"{prefix.stage} to {prefix.model} (about {prefix.tokens:,} of {prefix.fewest:,})"
        for prefix in prefixes(settings, enabled, Tier)
        if prefix.is_too_short
    ]
    if short:
        yield warning(
            f"By estimate too short for the prompt cache, in tokens: {', '.join(short)}.",
            why="The API caches no shorter prefix and says nothing of it; each call then pays for "
            "its whole prompt, and that counts against the limit of input tokens.",
            advice="Give the labels of the stage descriptions and examples, which help the "
            "answers, too; or take no notice: a prompt that short costs little.",
        )


def check_opinions(site: Site) -> Iterator[Finding]:
    """Finds second opinions that are set and do not pay."""
    verdicts = opinions(site.settings, build_stages(site.settings.stages))
    idle = {name: verdict for name, verdict in verdicts.items() if not verdict.pays}
    for name, verdict in idle.items():
        yield warning(
            f"escalation.second_opinion.{name} is set, and none is asked for: {verdict.because}.",
            why="Doubtful answers go to Sonnet at once, as without the setting.",
            advice="Leave it out, or set it to the share that `pipeline evaluate` measured.",
        )
    if not idle:
        asked = ", ".join(verdicts) or "none"
        yield ok(f"Second opinions are asked for where they pay: {asked}.")


Probers = Callable[[Settings], AbstractAsyncContextManager[Any]]  # of what has `Gateway.probe`


async def check_access(
    site: Site, probers: Probers = Gateway, today: Callable[[], date] = date.today
) -> AsyncIterator[Finding]:
    """Finds an API key that is refused, a model that the key may not ask or the API does not know,
    that has retired or will, or cannot do what is asked of it; no way to the API.
    """
    tiers = (site.settings.models.haiku, site.settings.models.sonnet)
    elsewhere = {each.model for each in tiers if each.provider in PARTNERS_OWN_SCHEDULE}
    async with probers(site.settings) as prober:
        probes: Sequence[Probe] = await prober.probe()
    for probe in probes:
        if probe.ok:
            yield ok(f"{probe.model}: {probe.detail}")
        else:
            yield failed(
                f"{probe.model}: {probe.detail}",
                why="Intake stops as long as a model cannot be asked; events wait in Kafka.",
                advice="Fix the key, the model's name (models.haiku, models.sonnet), or the way to "
                "the API (ANTHROPIC_BASE_URL, proxies, certificates).",
            )
        facts = facts_of(probe.model, probe.described)
        if facts.lifecycle is None and probe.model in elsewhere:
            facts = replace(facts, retires=None)
        for finding in (_of_end(probe.model, facts, today()), _of_lacks(probe.model, facts)):
            if finding is not None:
                yield finding


_ANOTHER = "Set another in `models`, and evaluate it before: `pipeline evaluate`."


def _of_end(model: str, facts: ModelFacts, today: date) -> Finding | None:
    """When a model ends: by the API or, where it does not say, by the table."""
    end, source = facts.retires, "as the API says"
    has_retired = facts.lifecycle == "retired"
    if facts.lifecycle is None:
        source = f"by the announcements up to {RETIREMENTS_AS_OF}"
        has_retired = end is not None and end <= today
    if has_retired:
        return failed(
            f"{model} has retired{f' on {end}' if end else ''}, {source}.",
            why="The API answers 404 to it.",
            advice=_ANOTHER,
        )
    if end is None and facts.lifecycle != "deprecated":
        return None
    return warning(
        f"{model} retires {f'on {end}' if end else 'on a day that is not set'}, {source}.",
        why="From that day on the API answers 404 to it, and intake stops.",
        advice=_ANOTHER,
    )


def _of_lacks(model: str, facts: ModelFacts) -> Finding | None:
    lacks = ", ".join(sorted(name.replace("_", " ") for name in facts.lacks))
    if not lacks:
        return None
    return warning(
        f"{model} has no {lacks}, as the API says.",
        why="Stages ask for answers by a schema, images and invoices bring files, and backfills "
        "use batches: what is missing is refused with every event.",
        advice=_ANOTHER,
    )
