"""What a person does on the start page, and what they see there."""

import json
from typing import Any

from tests.browser.chromium import Tab
from tests.support.service import Service

KEY = "member-key-0123456789abcdef"
WITH_KEY = {"X-API-Key": KEY}
SOONER = "const later = window.setTimeout; window.setTimeout = (work, ms) => later(work, ms < 9000 ? 0 : ms);"
"""What the page would do in some seconds, it does at once."""
CUT = """window.WebSocket = class extends WebSocket {
  send(data) {
    const isCut = data.includes('"chat"') && !window.wasCut;
    if (!isCut || IS_SENT) super.send(data);
    if (isCut) { window.wasCut = true; this.close(); }
  }
};"""
"""The connection is lost with the first message, which the service has got or not."""
HIDDEN = "Object.defineProperty(document, 'hidden', { get: () => !window.isSeen });"
UNREAD = """const ask = window.fetch; window.fetch = (path, how) =>
  window.isThere || !path.includes("/later") ? ask(path, how) : Promise.reject(new TypeError("no way"));"""


async def opened(tab: Tab, service: Service, hash_: str = "") -> None:
    await tab.open(f"{service.url}/?api_key={KEY}{hash_}")
    await tab.until("document.querySelector('#state').textContent === 'connected'")


async def reloaded(tab: Tab) -> None:
    await tab.run("window.old = true")
    await tab.call("Page.reload")
    await tab.until("!window.old && document.querySelector('#state').textContent === 'connected'")


async def typed(tab: Tab, text: str, field: str) -> None:
    """Written into the field, and sent with the Enter key."""
    await tab.run(f"document.querySelector({json.dumps(field)}).focus()")
    await tab.call("Input.insertText", text=text)
    for kind in ("rawKeyDown", "char", "keyUp"):
        enter = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
        await tab.call("Input.dispatchKeyEvent", type=kind, **enter)


async def said(tab: Tab, text: str) -> None:
    await typed(tab, text, "#input")
    await tab.until(f"document.querySelector('.message.user')?.textContent === {json.dumps(text)}")


async def answer_is(tab: Tab, text: str) -> None:
    """The only one, and everything has ended."""
    await tab.until(
        "document.querySelector('#cancel').hidden && !!document.querySelector('.message.assistant')"
    )
    assert await tab.texts(".message.assistant") == [text]
    assert await tab.texts(".message.error") == []


async def shown_card(tab: Tab) -> str:
    await tab.until("!!document.querySelector('.ask')")
    (text,) = await tab.texts(".ask")
    return text


async def task_of(tab: Tab, service: Service) -> tuple[str, dict[str, Any]]:
    """The path of the only task of the conversation that is shown, and its record."""
    conversation = await tab.run("decodeURIComponent(location.hash.slice(1))")
    async with service.client(headers=WITH_KEY) as client:
        found = await client.get("/tasks", params={"conversation_id": conversation})
    (task,) = found.json()["tasks"]
    return f"/tasks/{task['task_id']}", task


async def said_so_far(tab: Tab) -> list[str]:
    return await tab.texts(".message, .step")


async def received(tab: Tab, service: Service) -> list[str]:
    """What people have said in the conversation that is shown, as the log has it."""
    conversation = await tab.run("location.hash.slice(1)")
    async with service.client(headers=WITH_KEY) as client:
        found = await client.get(f"/conversations/{conversation}/events?types=message.received")
    return [event["payload"]["content"] for event in found.json()["events"]]
