"""A headless Chromium as a process of its own, driven over the DevTools protocol; it needs no driver and no download.

Nothing here sleeps: a page is asked to tell when something is so, and looks again whenever its document changes.
"""

import asyncio
import base64
import json
import os
import queue
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
START_SECONDS_MAX = 60
ANSWER_SECONDS_MAX = 45
UNTIL_MS_MAX = 30_000
FRAME_BYTES_MAX = 64 * 1024 * 1024
FLAGS = (
    "--headless=new",
    "--remote-debugging-port=0",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-breakpad",
    "--hide-scrollbars",
    "--no-proxy-server",
)
_LISTENING = "DevTools listening on "
_UNTIL = """new Promise((resolve, reject) => {
  const look = () => {
    const found = (() => { try { return CONDITION } catch { return null } })();
    if (found) { observer.disconnect(); clearTimeout(limit); resolve(found); }
  };
  const observer = new MutationObserver(look);
  const limit = setTimeout(() => {
    observer.disconnect();
    reject(new Error("was never so; the page says: " + document.body.innerText.slice(0, 3000)));
  }, LIMIT);
  observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
  look();
})"""


def installed() -> str | None:
    """The program, where there is one."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


@contextmanager
def running_chromium(folder: Path) -> Iterator[str]:
    """The address of a browser's DevTools. Its profile is in `folder`; it is killed afterwards, with its children."""
    program = installed()
    assert program is not None, "there is no Chromium"
    flags = [*FLAGS, f"--user-data-dir={folder}"]
    if os.geteuid() == 0:
        flags.append("--no-sandbox")  # it refuses to start as root with one
    process = subprocess.Popen(
        [program, *flags, "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "LANGUAGE": "en_US"},  # that of the browser's own controls
    )
    said: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(process, said), daemon=True)
    reader.start()
    try:
        output: list[str] = []
        while (line := said.get(timeout=START_SECONDS_MAX)) is not None:
            output.append(line)
            if line.startswith(_LISTENING):
                yield line.removeprefix(_LISTENING).strip()
                return
        raise AssertionError("Chromium ended:\n" + "".join(output))
    finally:
        process.kill()
        process.wait()
        reader.join()


def _read(process: subprocess.Popen[str], said: "queue.SimpleQueue[str | None]") -> None:
    assert process.stderr is not None
    with process.stderr:
        for line in process.stderr:
            said.put(line)
    said.put(None)


class Tab:
    """One page. `problems`: what its console called an error, with everything that its security policy has stopped.
    `tolerated`: beginnings of those that a test expects. `asked`: method and address of each request."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._sent = 0
        self._session: str | None = None
        self.problems: list[str] = []
        self.tolerated: tuple[str, ...] = ()
        self.asked: list[tuple[str, str]] = []

    async def begin(self) -> None:
        """A tab of its own, in a context of its own: no cookies, no storage of others."""
        context = self._context = (await self.call("Target.createBrowserContext"))["browserContextId"]
        created = await self.call("Target.createTarget", url="about:blank", browserContextId=context)
        attached = await self.call("Target.attachToTarget", targetId=created["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")

    async def end(self) -> None:
        """The page is gone, and its sockets with it: a user may have few."""
        self._session = None
        await self.call("Target.disposeBrowserContext", browserContextId=self._context)

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command of the protocol. Raises `AssertionError` with what the browser says."""
        self._sent += 1
        number = self._sent
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        session = {"sessionId": self._session} if self._session else {}
        await self._connection.send(
            json.dumps({"id": number, "method": method, "params": parameters, **session})
        )
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            answered = await answer
        assert "error" not in answered, f"{method}: {answered.get('error')}"
        return answered["result"]

    async def read(self) -> None:
        """Until the connection ends."""
        async for received in self._connection:
            frame = json.loads(received)
            if "id" in frame:
                self._answers.pop(frame["id"]).set_result(frame)
            else:
                self._note(frame["method"], frame["params"])

    def _note(self, method: str, parameters: dict[str, Any]) -> None:
        match method:
            case "Runtime.exceptionThrown":
                details = parameters["exceptionDetails"]
                self.problems.append(details.get("exception", {}).get("description", details["text"]))
            case "Log.entryAdded" if parameters["entry"]["level"] == "error":
                entry = parameters["entry"]
                self.problems.append(f"{entry['text']} {entry.get('url', '')}")
            case "Runtime.consoleAPICalled" if parameters["type"] in ("error", "assert"):
                self.problems.append(str(parameters["args"]))
            case "Network.requestWillBeSent":
                self.asked.append((parameters["request"]["method"], parameters["request"]["url"]))
            case "Network.webSocketCreated":
                self.asked.append(("WS", parameters["url"]))
            case _:
                pass

    async def open(self, url: str) -> None:
        await self.call("Page.navigate", url=url)

    async def run(self, script: str) -> Any:
        """The value of an expression, or what its promise comes to."""
        answered = await self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        wrong = answered.get("exceptionDetails")
        assert wrong is None, f"{script[:200]}: {wrong.get('exception', {}).get('description')}"
        return answered["result"].get("value")

    async def until(self, condition: str) -> Any:
        """The first value of this expression that is true, at once or when the document changes; at most 30 s."""
        return await self.run(_UNTIL.replace("CONDITION", condition).replace("LIMIT", str(UNTIL_MS_MAX)))

    async def texts(self, selector: str) -> list[str]:
        """What all these elements say."""
        return await self.run(
            f"[...document.querySelectorAll({json.dumps(selector)})].map((node) => node.textContent)"
        )

    async def click(self, selector: str) -> None:
        await self.run(f"document.querySelector({json.dumps(selector)}).click()")

    async def screenshot(self, *, whole: bool = False) -> bytes:
        """As PNG; `whole`: also what one would have to scroll to."""
        taken = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(taken["data"])

    async def look(self, *, dark: bool = False, width: int = 1400, height: int = 900) -> None:
        """What the person has chosen in the system, and how large the window is."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    async def live_in(self, *, zone: str, language: str) -> None:
        """The person's time zone and language, for pages that are opened from now on."""
        await self.call("Emulation.setTimezoneOverride", timezoneId=zone)
        agent = (await self.call("Browser.getVersion"))["userAgent"]
        await self.call("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage=language)
        await self.call("Emulation.setLocaleOverride", locale=language)


@asynccontextmanager
async def opened_tab(devtools: str) -> AsyncIterator[Tab]:
    """A page of the browser at this address."""
    async with connect(devtools, max_size=FRAME_BYTES_MAX, proxy=None) as connection:
        tab = Tab(connection)
        reading = asyncio.create_task(tab.read())
        try:
            await tab.begin()
            yield tab
            await tab.end()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
