"""Whether a request means this machine: a browser can be made to send others here.

A page on the internet may give its own name this machine's address (DNS rebinding); to the
browser both are then of one origin, and its scripts could read what the port shows. Such a
request names a host that nobody here knows.
"""

from ipaddress import ip_address

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

_LOCAL = "localhost"


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches what listens on that host."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == _LOCAL


def names_this_machine(header: str, names: frozenset[str]) -> bool:
    """Whether a `Host` header is an address, `localhost` or one of the names. Pure."""
    host = header.rsplit(":", 1)[0] if not header.endswith("]") else header
    host = host.strip("[]").lower()
    if host == _LOCAL or host.endswith("." + _LOCAL) or host in names:
        return True
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def refuse_others(names: frozenset[str]) -> Middleware:
    """A middleware that answers only requests that name this machine."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not names_this_machine(request.host, names):
            raise web.HTTPMisdirectedRequest(
                text="This port is asked by its address or as localhost; "
                "a proxy's name can be added to http.names (PIPELINE_HTTP__NAMES).\n"
            )
        return await handler(request)

    return check
