"""The start page in a real browser: keys, questions and consent, reloads in mid-answer, addresses that lead nowhere."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import Tab, installed
from tests.support.chat import ASKING
from tests.support.databases import TestServer
from tests.support.portal import portal
from tests.support.service import Service, running_service, script

pytestmark = pytest.mark.skipif(
    installed() is None, reason="no Chromium is installed (Debian: apt-get install chromium)"
)

KEY = "member-key-0123456789abcdef"
WITH_KEY = {"X-API-Key": KEY}
UNANSWERED = "Failed to load resource:"
HELD = "The beginning, and the end."
SOONER = "const later = window.setTimeout; window.setTimeout = (work, ms) => later(work, ms < 9000 ? 0 : ms);"
"""What the page would do in some seconds, it does at once."""


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Answers to "hold NAME" stop in the middle until the file NAME exists in this folder."""
    return tmp_path_factory.mktemp("gate")


@pytest.fixture(scope="module")
def service(server: TestServer, tmp_path_factory: pytest.TempPathFactory, gate: Path) -> Iterator[Service]:
    """With one member, and a model that asks people."""
    folder = tmp_path_factory.mktemp("service")
    answer = {"text": HELD, "chunk_chars": 5, "hold_after_chunks": 3}
    held = [
        {
            "when": {"last_user_contains": f"hold {name}"},
            "answer": {**answer, "wait_for_file": str(gate / name)},
        }
        for name in ("one", "two")
    ]
    keys = json.dumps([{"key": KEY, "user": "ana"}])
    model = script(folder, [*ASKING, *held])
    with (
        server.database() as dsn,
        running_service(folder, dsn, model=model, api_keys=keys, shell="true") as running,
    ):
        yield running


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


async def test_a_wrong_key_is_told_once_and_another_one_asked_for(service: Service, tab: Tab) -> None:
    """Guard: the close code 4001. Without it sockets would be opened all the time, each with an error."""
    tab.tolerated = (UNANSWERED,)  # a 401
    await tab.call("Page.addScriptToEvaluateOnNewDocument", source=SOONER)
    await tab.open(f"{service.url}/?api_key=wrong")
    for _ in range(3):
        await tab.until("document.querySelector('#trouble').textContent === 'This key is not valid here.'")
        assert await tab.run("document.querySelector('main').hidden")
        assert await tab.texts(".message, .step") == []
        assert await tab.run("location.search") == ""
        await typed(tab, "not-the-key", "#key")
    assert len([url for method, url in tab.asked if method == "WS"]) <= 4, "one for each key"
    await tab.until("document.querySelector('#trouble').textContent === 'This key is not valid here.'")
    await typed(tab, KEY, "#key")
    await tab.until("document.querySelector('#state').textContent === 'connected'")
    assert await tab.run(
        "document.querySelector('#trouble').hidden && document.querySelector('#door').hidden"
    )
    await said(tab, "what a day")
    await answer_is(tab, "You said: what a day")
    assert not [url for _, url in tab.asked if KEY in url], "no key that was typed is in an address"


async def test_a_question_is_answered_also_after_a_reload(service: Service, tab: Tab) -> None:
    await opened(tab, service)
    await said(tab, "ask me")
    first = await shown_card(tab)
    assert "Which colour?" in first
    assert "until " in first
    await reloaded(tab)
    assert await shown_card(tab) == first
    assert not await tab.run("document.querySelector('#cancel').hidden")
    await typed(tab, "Red", ".ask textarea")
    await answer_is(tab, "Noted. The answer: Red")
    assert await tab.texts(".ask") == []
    assert "Which colour? → Red" in await tab.texts(".step")
    await reloaded(tab)
    await answer_is(tab, "Noted. The answer: Red")
    assert await tab.texts(".ask") == []
    assert "Which colour? → Red" in await tab.texts(".step"), "it is told afterwards too"


async def test_a_question_that_is_answered_elsewhere_is_gone(service: Service, tab: Tab) -> None:
    await opened(tab, service)
    await said(tab, "ask me")
    await shown_card(tab)
    path, task = await task_of(tab, service)
    (request_id,) = task["run"]["waits_for"]
    async with service.client(headers=WITH_KEY) as client:
        await client.post(f"{path}/reply", json={"request_id": request_id, "content": "Blue"})
    await answer_is(tab, "Noted. The answer: Blue")
    assert await tab.texts(".ask") == []
    assert "Which colour? → Blue" in await tab.texts(".step")


async def test_a_question_of_a_run_that_has_ended_is_gone(service: Service, tab: Tab) -> None:
    await opened(tab, service)
    await said(tab, "ask me")
    await shown_card(tab)
    await tab.click("#cancel")
    await tab.until("document.querySelector('#cancel').hidden")
    assert await tab.texts(".ask") == []
    assert "Which colour? → nobody answered" in await tab.texts(".step")


@pytest.mark.parametrize(("button", "outcome"), [("yes", "allowed"), ("no", "refused")])
async def test_a_command_needs_consent(service: Service, tab: Tab, button: str, outcome: str) -> None:
    await opened(tab, service)
    await said(tab, "run it")
    card = await shown_card(tab)
    command = "echo done $((40+2))"
    assert await tab.texts(".ask code") == [command]
    assert "until " in card
    await tab.click(f".ask .{button}")
    await tab.until("document.querySelector('#cancel').hidden")
    assert f"{command} → {outcome}" in await tab.texts(".step")
    (answer,) = await tab.texts(".message.assistant")
    assert ("done 42" in answer) == (button == "yes")
    assert await tab.texts(".ask") == []


async def test_a_reload_in_mid_answer_goes_on_with_it(service: Service, tab: Tab, gate: Path) -> None:
    await opened(tab, service)
    await said(tab, "hold one")
    await tab.until(f"document.querySelector('.message.assistant')?.textContent === '{HELD[:15]}'")
    await reloaded(tab)
    await tab.until(f"document.querySelector('.message.assistant')?.textContent === '{HELD[:15]}'")
    assert not await tab.run("document.querySelector('#cancel').hidden")
    (gate / "one").touch()
    await answer_is(tab, HELD)
    assert await tab.texts(".message.user") == ["hold one"]


async def test_an_answer_is_shown_only_in_its_conversation_and_is_there_on_return(
    service: Service, tab: Tab, gate: Path
) -> None:
    await opened(tab, service)
    await said(tab, "hold two")
    await tab.until("!!document.querySelector('.message.assistant')")
    address = await tab.run("location.hash")
    await tab.click("#new")
    assert await tab.texts(".message") == []
    assert await tab.run("document.querySelector('#cancel').hidden && location.hash === ''")
    await tab.until("document.querySelector('#state').textContent === 'connected'")
    (gate / "two").touch()
    async with service.client(headers=WITH_KEY) as client:
        ended = await client.get(f"/conversations/{address[1:]}/events?types=run.completed&wait=30")
    assert ended.json()["events"]
    await said(tab, "what a day")
    await answer_is(tab, "You said: what a day")
    await tab.run(f"location.hash = {json.dumps(address)}")
    await tab.until("document.querySelector('.message.user')?.textContent === 'hold two'")
    await answer_is(tab, HELD)


@pytest.mark.parametrize("address", ["#gone", "#%zz", "#a%00b"])
async def test_an_address_that_leads_nowhere_is_told_and_the_list_is_there(
    service: Service, tab: Tab, address: str
) -> None:
    tab.tolerated = (UNANSWERED,)  # a 404 or 400
    async with portal(service, additional_headers=WITH_KEY) as line:
        await line.turn("what there is", conversation_id="there")
    await opened(tab, service, address)
    assert await tab.texts(".message.error") == ["This conversation is gone, or was never there."]
    await tab.until("!!document.querySelector('#list button')")
    assert "what there is" in await tab.texts("#list button")
    assert await tab.run("location.hash") == ""
    await typed(tab, "and now this", "#input")
    await tab.until("document.querySelector('.message.assistant')?.textContent === 'You said: and now this'")
