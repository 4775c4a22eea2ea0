"""Where do requests go, and is the clock there ours?"""

import asyncio
import re
from collections.abc import Iterable, Iterator
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

import aiohttp

from pipeline.doctor.check import Site
from pipeline.doctor.finding import Finding, failed, ok, warning

BASE_URL = "ANTHROPIC_BASE_URL"
PUBLIC = "https://api.anthropic.com"
_SKEW = 5.0
"""Seconds; dates of HTTP have whole ones, and the answer takes its time."""
_WITHIN = 10.0
_CREDENTIALS = re.compile("//[^/?#]*@")


def check_address(site: Site) -> Iterator[Finding]:
    """A forgotten or mistyped variable sends requests to the wrong place."""
    where = site.environment.get(BASE_URL)
    if where is None:
        yield ok("address", "Requests go to the API of Anthropic.")
        return
    url = _split(where.strip())
    where = _CREDENTIALS.sub("//***@", where)
    advice = f"Set {BASE_URL} to scheme, host and port alone, or unset it for {PUBLIC}."
    if where != where.strip() or url is None:
        yield failed(
            "address",
            f"{BASE_URL} is {where!r}, which is no address.",
            why="No call could be made.",
            advice=advice,
        )
    elif url.path.rstrip("/").endswith(("/v1", "/messages")):
        yield failed(
            "address",
            f"{BASE_URL} ends with {url.path}.",
            why="The SDK adds /v1/messages itself, so every call would get a 404.",
            advice=advice,
        )
    elif url.scheme == "http" and not _is_here(url.hostname or ""):
        yield warning(
            "address",
            f"Requests go to {where}, as {BASE_URL} says, without TLS.",
            why="The key and the content of events can be read on the way.",
            advice="Use https, unless the network is yours alone.",
        )
    else:
        yield ok("address", f"Requests go to {where}, as {BASE_URL} says.")


def _split(where: str) -> SplitResult | None:
    """The parts of an address that can be called; None if it cannot."""
    try:
        url = urlsplit(where)
        # A port is looked at only when it is asked for.
        is_address = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        return None
    return url if is_address else None


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def check_clock(site: Site) -> Iterable[Finding]:
    """Compare our clock with the API's, which dates its answers; no key is sent."""
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
        return [ok("clock", "It was not compared: nothing at the API's address tells the time.")]
    if abs(ahead) <= _SKEW:
        return [ok("clock", "It agrees with the API's.")]
    return [
        warning(
            "clock",
            f"The clock here is {abs(ahead):,.0f} s {'ahead of' if ahead > 0 else 'behind'} "
            "the API's.",
            why="Ages of events, budgets of the hour and the day, and waits until a given time "
            "are wrong by that; TLS fails where it is a lot.",
            advice="Set the clock: `timedatectl set-ntp true`, or the host's, for a container.",
        )
    ]
