"""Is the HTTP port free?"""

import socket

from pipeline.doctor.finding import Finding, ok, warning
from pipeline.settings import HttpSettings


def check_port(settings: HttpSettings) -> Finding:
    """Try to listen on it for a moment."""
    place = f"{settings.host}:{settings.port}"
    try:
        family, *_ = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((settings.host, settings.port))
    except OSError as error:
        return warning(
            "port",
            f"Nothing can listen on {place} ({error.strerror}): that is fine if the pipeline runs "
            "already; else set http.host and http.port.",
        )
    return ok("port", f"{place} is free for the dashboard.")
