"""The places where models are asked: credentials, regions, what a platform lacks, fallbacks.

Nobody is asked here; `model_api.check_access` asks each of them.
"""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from pipeline.claude.billing import PriceTable
from pipeline.claude.providers import PROVIDERS, ProviderTraits, account_of
from pipeline.config import EndpointSettings
from pipeline.doctor.examination import Finding, Site, failed, ok, warning
from pipeline.doctor.installation import is_installed
from pipeline.model.records import Tier

_NO_CALL = "Every call would be refused; intake would stop, and events would wait."
_AWS_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
_GOOGLE_REGION = re.compile(r"global|us|eu|[a-z]+-[a-z]+\d+")
_REGION_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")
_PARTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "us": ("us-east-", "us-west-"),
        "us-gov": ("us-gov-",),
        "eu": ("eu-",),
        "apac": ("ap-",),
        "jp": ("ap-northeast-1", "ap-northeast-3"),
        "au": ("ap-southeast-2", "ap-southeast-4"),
        "ca": ("ca-",),
    }
)
"""By the part of the world that an id of Bedrock begins with: the regions that it is asked from."""
_DEAR = 3
"""A fallback that costs so many times as much is worth a word."""


def check_credentials(site: Site) -> Iterator[Finding]:
    """Finds a key file that is not there, is empty or holds more than a key; a package that signs
    requests or renews tokens and is not installed.
    """
    for name, place in site.settings.models.places():
        traits = PROVIDERS[place.provider]
        variables = [each for each in traits.key_variables if site.environment.get(each)]
        missing = [each for each in traits.modules if not is_installed(each)]
        if place.key_file is not None:
            yield _of_file(name, place)
        elif variables:
            yield ok(f"{name}: {variables[0]} is set.")
        elif traits.proof == "key":
            # What is wrong with the variable, if anything, another check says.
            continue
        elif missing:
            yield failed(
                f"{name} is asked at {place.provider}, and {', '.join(missing)} is not installed.",
                why="Without a key it signs requests or renews tokens: `pipeline run` does not"
                " start.",
                advice=f"`pip install 'haiku-pipeline[{place.provider}]'`, or set {name}.key_file.",
            )
        else:
            yield ok(f"{name}: {traits.credentials} prove who asks.")


def _of_file(name: str, place: EndpointSettings) -> Finding:
    setting = f"{name}.key_file"
    try:
        key = place.key_file.read_text("utf-8").strip() if place.key_file is not None else ""
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        return failed(
            f"{setting}, {place.key_file}, cannot be read ({reason}).",
            why=_NO_CALL,
            advice="Mount it, or let this user read it; it is read again when it changes.",
        )
    if not key or len(key.split()) > 1:
        what = "holds more than a key" if key else "is empty"
        return failed(
            f"{setting}, {place.key_file}, {what}.",
            why=_NO_CALL,
            advice="Write the key or token into it, alone, on one line.",
        )
    return ok(f"{name}: the key is in {place.key_file}.")


def check_regions(site: Site) -> Iterator[Finding]:
    """Finds a region that a platform cannot have; a model's id for another part of the world."""
    for name, place in site.settings.models.places():
        of_aws = PROVIDERS[place.provider].proof == "sigv4"
        pattern = _AWS_REGION if of_aws else _GOOGLE_REGION
        region = place.region
        if region is None and of_aws:
            region = next(filter(None, map(site.environment.get, _REGION_VARIABLES)), None)
        if region is None:
            continue
        part = place.model.partition(".")[0]
        if pattern.fullmatch(region) is None:
            example = "us-east-1" if of_aws else "global or us-east5"
            yield failed(
                f"{name}: {region!r} is not how {place.provider} calls a region.",
                why="Its address would not be found, and no call could be made.",
                advice=f"Set {name}.region to one such as {example}.",
            )
        elif of_aws and part in _PARTS and not region.startswith(_PARTS[part]):
            yield failed(
                f"{name}: {place.model} is not asked from {region}.",
                why=f"An id that begins with `{part}.` is for regions {_beginnings(part)}; from"
                " others the platform answers that there is no such model.",
                advice=f"Set {name}.model to the id for that part of the world, or to one that"
                " begins with `global.`, or set another region.",
            )
        else:
            yield ok(f"{name} is asked in {region}.")


def _beginnings(part: str) -> str:
    return ", ".join(f"{beginning}..." for beginning in _PARTS[part])


def lacking(traits: ProviderTraits) -> Iterator[str]:
    """What a platform does not have, and what is done instead."""
    if not traits.batches:
        yield "no message batches (`pipeline backfill` refuses)"
    if not traits.models_list:
        asked = "counting tokens" if traits.count_route else "a question of a few tokens"
        yield f"no list of models (`access` below goes by {asked})"
    if not traits.structured_outputs:
        yield (
            "no answers in form for every model (they come as the input of a tool, or are asked for"
            " in words, and are checked here)"
        )
    if not traits.prompt_cache:
        yield "no prompt cache (each call pays for its whole prompt)"
    if not traits.rate_headers:
        yield "no word about rate limits (the pace is learnt from 429s)"


def check_platforms(site: Site) -> Iterator[Finding]:
    """Finds what a platform lacks, and says what is done instead."""
    for provider in dict.fromkeys(place.provider for _, place in site.settings.models.places()):
        what = list(lacking(PROVIDERS[provider]))
        yield ok(f"{provider} has " + ("; ".join(what) if what else "all that is used") + ".")


def check_fallbacks(site: Site) -> Iterator[Finding]:
    """Finds a fallback that is out with its first, or costs several times as much."""
    prices = PriceTable(site.settings.claude.prices)
    for tier in Tier:
        first = site.settings.models.of(tier)
        fallback, setting = first.fallback, f"models.{tier}.fallback"
        if fallback is None:
            continue
        ours, theirs = prices.price(first.model), prices.price(fallback.model)
        if account_of(first) == account_of(fallback):
            same = first.model == fallback.model and first.region == fallback.region
            yield warning(
                f"{setting} is asked with the same account as its first"
                + (", and for the same model." if same else "."),
                why="A key that is refused, a spend limit and an outage of the provider stop both.",
                advice=f"Set {setting} to another provider or account.",
            )
        elif ours and theirs and theirs.rates.output >= _DEAR * ours.rates.output:
            times = float(theirs.rates.output / ours.rates.output)
            yield warning(
                f"{setting}, {fallback.model}, costs {times:.3g} times as much as {first.model}.",
                why="While the first is out every event of the tier is paid at that price.",
                advice="Set claude.budget_usd_per_hour, or a cheaper model, unless that is meant.",
            )
        else:
            yield ok(f"{fallback.name} is asked while {first.name} cannot be.")
