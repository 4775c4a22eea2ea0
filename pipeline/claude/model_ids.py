"""Which model an id names, and how that model is called on each platform. Pure.

Anthropic's own id of a model, such as `claude-haiku-5-5`, is wrapped and marked in other ways by
each cloud and gateway: by the public pages of July to October 2026, and by LiteLLM's routes. What
is known of a model is known by its own id. A name that a team gave to a deployment stays as it is.
"""

import re
from functools import lru_cache

from pipeline.model.records import SIMULATED

_CLAUDE = re.compile(
    # Routes of gateways, ARNs and resource names end with a slash, geographies with a dot.
    rf"(?:.*/)?(?:{re.escape(SIMULATED)})*(?:[a-z-]+\.)?(?:anthropic\.)?"
    r"(?P<id>claude-[a-z0-9.-]*?[a-z0-9])"
    r"(?:[-@]20\d{6}|[-@]latest|@default|-v\d+(?::\w+)*)*",
    re.DOTALL,
)
_VERSION_DOT = re.compile(r"(?<=\d)\.(?=\d)")
_PLAIN = re.compile(r"claude-[a-z0-9-]+")
_DAY = re.compile(r"-(20\d{6})$")
_GEOGRAPHY = re.compile(r"(?:^|[/:])(?P<geography>[a-z-]+)\.anthropic\.")
_DAYS = {
    "claude-haiku-4-5": "20251001",
    "claude-opus-4-5": "20251101",
    "claude-sonnet-4-5": "20250929",
}
"""The last models whose ids have a day on Bedrock and Google Cloud."""
_PROFILES = {
    "us-gov-": "us-gov",
    "us-": "us",
    "eu-": "eu",
    "ap-northeast-1": "jp",
    "ap-northeast-3": "jp",
    "ap-southeast-2": "au",
    "ap-southeast-4": "au",
}
"""Geographies of inference profiles, by how the regions in them begin."""
_BEDROCK_VERSIONS = {"claude-opus-4-6": "-v1"}


@lru_cache(maxsize=256)
def base_id(model: str) -> str:
    """Anthropic's own id, without the day of release; a name that is no id of Claude as it is."""
    found = _CLAUDE.fullmatch(model)
    return model if found is None else _VERSION_DOT.sub("-", found["id"])


def geography_of(model: str) -> str:
    """Where an inference profile keeps requests, such as `us` or `global`; empty without one."""
    found = _GEOGRAPHY.search(model)
    return "" if found is None else found["geography"]


def platform_id(model: str, provider: str, *, region: str = "") -> str:
    """How a model's plain id is written for a provider; any other name is that of a platform.

    Bedrock's InvokeModel asks recent models through an inference profile: one that keeps requests
    in the geography of the `region` where there is one, else the global one.
    """
    if _PLAIN.fullmatch(model) is None:
        return model
    base, day = base_id(model), _DAY.search(model)
    released = day[1] if day else _DAYS.get(base)
    match provider:
        case "bedrock":
            version = _BEDROCK_VERSIONS.get(base, "")
            dated = f"{base}-{released}-v1:0" if released else base + version
            profiles = (name for begin, name in _PROFILES.items() if region.startswith(begin))
            return f"{next(profiles, 'global')}.anthropic.{dated}"
        case "bedrock-mantle":
            return f"anthropic.{base}"
        case "vertex":
            return f"{base}@{released}" if released else base
        case _:
            return model
