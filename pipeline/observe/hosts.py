"""Whether a request means this machine: a browser can be made to send others here.

A page on the internet may give its own name this machine's address (DNS rebinding); to the
browser both are then of one origin, and its scripts could read what the port shows. Such a
request names a host that nobody here knows. That holds for a port in a private network as much
as for one that is open to this machine alone.
"""

import socket
from collections.abc import Collection
from ipaddress import ip_address

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

_LOCAL = "localhost"


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches what listens on that host."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == _LOCAL


def known_names(configured: Collection[str]) -> frozenset[str]:
    """The names that this machine answers to: its own, and those that are configured."""
    return frozenset(name.lower() for name in (socket.gethostname(), *configured) if name)


def names_this_machine(header: str, names: frozenset[str]) -> bool:
    """Whether a `Host` header is an address, `localhost` or one of the names. Pure.

    Args:
        header: As it came; the port does not matter.
        names: In lower case; one that begins with `*.` stands for all names below it.
    """
    host = header.rsplit(":", 1)[0] if not header.endswith("]") else header
    host = host.strip("[]").lower()
    parents = {"*" + host[at:] for at, char in enumerate(host) if char == "."}
    if host == _LOCAL or "*." + _LOCAL in parents or host in names or parents & names:
        return True
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def refuse_others(names: frozenset[str]) -> Middleware:
    """A middleware that answers only requests that name this machine.

    One without a `Host` header comes from no browser, and is answered.
    """

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        header = request.headers.get(hdrs.HOST)
        if header and not names_this_machine(header, names):
            raise web.HTTPMisdirectedRequest(
                text="This port answers to its address, to localhost and to the machine's name; "
                "add another name to http.names (PIPELINE_HTTP__NAMES).\n"
            )
        return await handler(request)

    return check
