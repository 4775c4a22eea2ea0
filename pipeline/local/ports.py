"""Free ports for servers that must know theirs before they start."""

import random
import socket
from contextlib import ExitStack

_FIRST, _LAST = 20_000, 32_000
"""Below where Linux and macOS take ports for outgoing connections, so that none of those takes a
port between its choice and its use, or while a server restarts."""


def free_ports(count: int) -> list[int]:
    """Different ports of 127.0.0.1 that nobody listens on at this moment."""
    chosen: list[int] = []
    with ExitStack() as held:
        for port in random.sample(range(_FIRST, _LAST), _LAST - _FIRST):
            if len(chosen) == count:
                break
            if _takes(held.enter_context(socket.socket()), "127.0.0.1", port):
                chosen.append(port)
    return chosen


def is_free(host: str, port: int) -> bool:
    """Whether nobody listens there at this moment."""
    with socket.socket() as probe:
        return _takes(probe, host, port)


def _takes(probe: socket.socket, host: str, port: int) -> bool:
    # As servers do, or a connection that was closed a minute ago would count as taken.
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind((host, port))
    except OSError:
        return False
    return True
