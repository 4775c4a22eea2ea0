"""Debian's Chromium without a window, driven over its own DevTools protocol.

The protocol is JSON over a WebSocket, which aiohttp speaks: nothing has to be installed but the
browser, and none of its versions is too new.
"""

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
    "about:blank",
)
_PATIENCE = 30.0
"""Seconds; a bound on hanging, not an expectation."""

_ANSWERED_WITHIN = 150.0
"""Seconds; longer than any condition is waited for."""

_UNTIL = """new Promise((resolve) => {
    const look = () => { if (%s) resolve(true); else setTimeout(look, 30); };
    look();
})"""


def program() -> str:
    """Where Chromium is; skips the test without it, or fails it where it is required."""
    for name in _PROGRAMS:
        if found := shutil.which(name):
            return found
    missing = "Chromium is not here: tests/browser/install brings it"
    if os.environ.get("PIPELINE_REQUIRE_BROWSER") == "1":
        pytest.fail(missing)
    pytest.skip(missing)


@dataclass(frozen=True, slots=True)
class Look:
    """A screen and what its owner prefers; sizes in CSS pixels."""

    width: int = 1280
    height: int = 900
    dark: bool = False
    scale: float = 1.0
    reduced_motion: bool = True


@dataclass
class Page:
    """One tab.

    Args:
        complaints: Uncaught errors, refused scripts and the like, as the browser reported them.
    """

    browser: "Chromium"
    session: str
    complaints: list[str] = field(default_factory=list)

    async def goto(self, address: str) -> None:
        """Load an address."""
        await self._send("Page.navigate", url=address)
        await self.until("document.readyState === 'complete'")

    async def evaluate(self, expression: str) -> Any:  # noqa: ANN401 - JSON
        """The value of a JavaScript expression, or of what it promises."""
        answer = await self._send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, condition: str, *, within: float = _PATIENCE) -> None:
        """Wait until a JavaScript expression is true."""
        try:
            async with asyncio.timeout(within):
                await self.evaluate(_UNTIL % condition)
        except TimeoutError:
            shown = await self.evaluate("document.body.innerText")
            raise AssertionError(f"not within {within} s: {condition}\n{shown}") from None

    async def text(self, selector: str) -> str:
        """What an element says."""
        found: str = await self.evaluate(
            f"document.querySelector({json.dumps(selector)}).innerText"
        )
        return found

    async def press(self, key: str, *, code: int = 0) -> None:
        """Press a key, as a person would."""
        event = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        await self._send("Input.dispatchKeyEvent", type="rawKeyDown", **event)
        if len(key) == 1 or key == "Enter":
            text = "\r" if key == "Enter" else key
            await self._send("Input.dispatchKeyEvent", type="char", text=text, **event)
        await self._send("Input.dispatchKeyEvent", type="keyUp", **event)

    async def tab(self) -> str:
        """Go to what has the focus next; what that is, in short."""
        await self.press("Tab", code=9)
        found: str = await self.evaluate(
            "(({tagName, id, className, value}) => "
            "[tagName.toLowerCase(), id, className, value].filter(Boolean).join(' '))"
            "(document.activeElement)"
        )
        return found

    async def look(self, look: Look) -> None:
        """Give it a screen."""
        await self._send(
            "Emulation.setDeviceMetricsOverride",
            width=look.width,
            height=look.height,
            deviceScaleFactor=look.scale,
            mobile=look.width < 600,
        )
        preferences = {
            "prefers-color-scheme": "dark" if look.dark else "light",
            "prefers-reduced-motion": "reduce" if look.reduced_motion else "no-preference",
        }
        features = [{"name": name, "value": value} for name, value in preferences.items()]
        await self._send("Emulation.setEmulatedMedia", features=features)

    async def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """Write a PNG of the page, or of what fits the screen."""
        options: dict[str, Any] = {"format": "png", "captureBeyondViewport": whole}
        if whole:
            metrics = await self._send("Page.getLayoutMetrics")
            size = metrics["cssContentSize"]
            options["clip"] = {**size, "x": 0, "y": 0, "scale": 1}
        answer = await self._send("Page.captureScreenshot", **options)
        _write(path, base64.b64decode(answer["data"]))

    async def printed(self, **options: object) -> bytes:
        """The page as a PDF, with options of `Page.printToPDF`."""
        answer = await self._send("Page.printToPDF", **options)
        return base64.b64decode(answer["data"])

    async def _send(self, method: str, **parameters: Any) -> dict[str, Any]:  # noqa: ANN401
        return await self.browser.send(method, parameters, session=self.session)


class Chromium:
    """A running browser.

    Args:
        socket: Its DevTools.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}

    async def open(self, address: str, look: Look | None = None) -> Page:
        """A new tab with an address."""
        target = await self.send("Target.createTarget", {"url": "about:blank"})
        attached = await self.send(
            "Target.attachToTarget", {"targetId": target["targetId"], "flatten": True}
        )
        session = attached["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.send(f"{domain}.enable", {}, session=session)
        await page.look(look or Look())
        await page.goto(address)
        return page

    async def send(
        self, method: str, parameters: dict[str, Any], *, session: str | None = None
    ) -> dict[str, Any]:
        """One command and its answer."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json(message)
        async with asyncio.timeout(_ANSWERED_WITHIN):
            found: dict[str, Any] = await answer
            return found

    async def listen(self) -> None:
        """Hand on what the browser says, until it ends."""
        async for raw in self._socket:
            message = json.loads(raw.data)
            waiting = self._answers.pop(message.get("id"), None)
            if waiting is None:
                self._note(message)
            elif waiting.done():
                continue  # nobody waits any more
            elif "error" in message:
                waiting.set_exception(RuntimeError(message["error"]["message"]))
            else:
                waiting.set_result(message["result"])

    def _note(self, message: dict[str, Any]) -> None:
        page = self._pages.get(message.get("sessionId", ""))
        if page is None:
            return
        parameters = message["params"]
        if message["method"] == "Runtime.exceptionThrown":
            page.complaints.append(json.dumps(parameters["exceptionDetails"]))
        elif message["method"] == "Log.entryAdded":
            entry = parameters["entry"]
            if entry["level"] in {"error", "warning"}:
                page.complaints.append(f"{entry['text']} {entry.get('url', '')}")
        elif message["method"] == "Runtime.consoleAPICalled" and parameters["type"] == "error":
            page.complaints.append(json.dumps(parameters["args"]))


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Chromium]:
    """Run a browser with a profile of its own."""
    found = program()
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            found,
            f"--user-data-dir={profile}",
            *_OPTIONS,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "TZ": "UTC", "LANG": "C.UTF-8"},
            start_new_session=True,
        )
        try:
            address = await _address(Path(profile) / "DevToolsActivePort")
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(address, max_msg_size=0) as socket,
            ):
                browser = Chromium(socket)
                listening = asyncio.create_task(browser.listen())
                try:
                    yield browser
                finally:
                    listening.cancel()
                    await asyncio.wait([listening])
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _address(file: Path) -> str:
    """The browser writes where its DevTools are once they are."""
    async with asyncio.timeout(_PATIENCE):
        while "\n" not in (written := _read(file)):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)
    port, path = written.split("\n")[:2]
    return f"ws://127.0.0.1:{port}{path}"


def _read(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
