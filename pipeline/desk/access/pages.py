"""The few pages that somebody without a role sees; they have no script."""

import base64
import hashlib
from html import escape

from aiohttp import web

NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_STYLE = (
    ":root{color-scheme:light dark;font:1rem/1.5 system-ui,sans-serif}"
    "main{max-width:26rem;margin:15vh auto;padding:0 1rem}"
    "input,button{font:inherit;box-sizing:border-box;width:100%;padding:.5rem;margin:.25rem 0}"
)
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    **NO_STORE,
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_DIGEST}'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
}


def page(body: str, *, head: str = "", status: int = 200) -> web.Response:
    """A page of trusted HTML; what is put into it has to be escaped before."""
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Desk</title>'
        f'<meta name="viewport" content="width=device-width">{head}<style>{_STYLE}</style></head>'
        f"<body><main><h1>Desk</h1>{body}</main></body></html>"
    )
    return web.Response(text=text, content_type="text/html", status=status, headers=_HEADERS)


def ask_for_token(onward: str, problem: str = "", *, status: int = 200) -> web.Response:
    """Ask for a token and go on to a path of the desk."""
    alert = f'<p role="alert">{escape(problem)}</p>' if problem else ""
    return page(
        f'{alert}<form method="post" action="/login">'
        f'<input type="hidden" name="next" value="{escape(onward)}">'
        '<label for="token">Your token</label>'
        '<input id="token" name="token" type="password" autocomplete="current-password" '
        "required autofocus><button>Sign in</button></form>",
        status=status,
    )


def onward(path: str) -> web.Response:
    """Go on to a path of the desk, as a request of the desk's own page."""
    place = escape(path)
    return page(
        f'<p><a href="{place}">Go on</a></p>',
        head=f'<meta http-equiv="refresh" content="0;url={place}">',
    )


def problem(sentence: str, *, status: int) -> web.Response:
    """Say why somebody was not signed in."""
    return page(
        f'<p role="alert">{escape(sentence)}</p><p><a href="/login">Sign in</a></p>', status=status
    )
