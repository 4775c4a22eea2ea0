"""The files of the dashboard page, out of the package: read once, and told apart by their content.

Nothing is inline and nothing comes from elsewhere, so the page needs no network, and its policy
can forbid every script and style but these.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "font-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # What would parse text as markup refuses to, whoever calls it.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""The content security policy of the page."""
_OWN = (
    "index.html", "page.css", "icon.svg", "main.js", "charts.js", "dom.js", "format.js",
    "models.js", "overview.js", "reasons.js", "records.js", "stages.js", "trouble.js",
)  # fmt: skip
_VENDORED = {
    "uplot.js": ("uplot", "uPlot.iife.min.js"),
    "uplot.css": ("uplot", "uPlot.min.css"),
    "inter.woff2": ("inter", "inter-latin-wght-normal.woff2"),
}
_TYPES = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
    "woff2": "font/woff2",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file.

    Args:
        media_type: Without its charset: text is UTF-8.
        etag: Changes with the content.
    """

    body: bytes
    media_type: str
    etag: str


def load() -> Mapping[str, Asset]:
    """The files by the name they are served under; `index.html` is the page."""
    page, vendor = resources.files("pipeline.observe").joinpath("page"), "pipeline.vendor"
    found = {name: page.joinpath(name).read_bytes() for name in _OWN}
    for name, (package, file) in _VENDORED.items():
        found[name] = resources.files(f"{vendor}.{package}").joinpath(file).read_bytes()
    return {name: _asset(name, body) for name, body in found.items()}


def _asset(name: str, body: bytes) -> Asset:
    digest = hashlib.sha256(body).hexdigest()[:32]
    return Asset(body, _TYPES[name.rsplit(".", 1)[1]], f'"{digest}"')
