"""The start page in a real browser: keys, questions and consent, lost connections, reloads in mid-answer, meetings."""

import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.browser.chromium import Tab, installed
from tests.browser.contrast import faint_texts
from tests.browser.start_page import (
    CUT,
    HIDDEN,
    KEY,
    SOONER,
    UNREAD,
    WITH_KEY,
    answer_is,
    opened,
    received,
    reloaded,
    said,
    said_so_far,
    shown_card,
    task_of,
    typed,
)
from tests.support.chat import ASKING
from tests.support.databases import TestServer
from tests.support.portal import portal
from tests.support.service import Service, running_service, script
from tests.support.talks import RULES_OF_BOARDS, RULES_OF_TEAMS, rules_of_board

pytestmark = pytest.mark.skipif(
    installed() is None, reason="no Chromium is installed (Debian: apt-get install chromium)"
)

UNANSWERED = "Failed to load resource:"
HELD = "The beginning, and the end."
WRITTEN = "## Plan\n\n**Two** of `a * b`:\n```js\nif (a < b) **go**\n```\n2**3**4 and <b>this</b>"


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
        for name in ("one", "two", "three")
    ]
    written = {"when": {"last_user_contains": "write it up"}, "answer": {"text": WRITTEN}}
    meetings = [*rules_of_board(gate, "boats"), *RULES_OF_BOARDS, *RULES_OF_TEAMS]
    keys = json.dumps([{"key": KEY, "user": "ana"}])
    model = script(folder, [*ASKING, *held, written, *meetings])
    with (
        server.database() as dsn,
        running_service(folder, dsn, model=model, api_keys=keys, shell="true") as running,
    ):
        yield running


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
    assert await tab.run("document.activeElement.matches('.ask textarea')"), "who types now, answers"
    await reloaded(tab)
    assert await shown_card(tab) == first
    assert not await tab.run("document.querySelector('#cancel').hidden")
    await typed(tab, "Red", ".ask textarea")
    assert await tab.run("document.activeElement.id") == "input"
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


@pytest.mark.parametrize("is_sent", ["true", "false"])
async def test_a_message_that_a_connection_was_lost_with_is_sent_again_and_taken_once(
    service: Service, tab: Tab, is_sent: str
) -> None:
    await tab.call("Page.addScriptToEvaluateOnNewDocument", source=SOONER + CUT.replace("IS_SENT", is_sent))
    await opened(tab, service)
    await typed(tab, "what a day", "#input")
    await answer_is(tab, "You said: what a day")
    await tab.until("!document.querySelector('[data-pending]')")
    assert await tab.texts(".message.user") == ["what a day"]
    assert await received(tab, service) == ["what a day"]


async def test_two_messages_in_one_breath_begin_one_conversation(service: Service, tab: Tab) -> None:
    await opened(tab, service)
    await tab.run(
        "for (const text of ['first this', 'then that']) {"
        " document.querySelector('#input').value = text; document.querySelector('#form').requestSubmit(); }"
    )
    await tab.until("document.querySelectorAll('.message.assistant').length === 2")
    assert await received(tab, service) == ["first this", "then that"]
    assert await tab.texts(".message.user") == ["first this", "then that"]


async def test_a_message_that_is_not_taken_can_be_sent_again(service: Service, tab: Tab) -> None:
    await opened(tab, service)
    await typed(tab, "@board", "#input")
    await tab.until("!!document.querySelector('.message.error')")
    assert await tab.run("document.querySelector('#input').value") == "@board"
    assert await tab.texts(".message.user") == []


async def test_what_is_said_elsewhere_is_shown_too(service: Service, tab: Tab) -> None:
    """As in a second tab. Guard: what is sent from here is known by its id; without it, it would be there twice."""
    await opened(tab, service)
    await said(tab, "what a day")
    await answer_is(tab, "You said: what a day")
    conversation = await tab.run("location.hash.slice(1)")
    async with service.client(headers=WITH_KEY) as client:
        body = {"message": "and a night", "conversation_id": conversation}
        assert (await client.post("/portal/chat", json=body)).status_code == 200
    await tab.until("document.querySelectorAll('.message.assistant').length === 2")
    await tab.until("document.querySelector('#cancel').hidden")
    told = ["what a day", "You said: what a day", "and a night", "You said: and a night"]
    assert await said_so_far(tab) == told
    async with service.client(headers=WITH_KEY) as client:
        await client.delete(f"/portal/conversations/{conversation}")
    await tab.until("location.hash === ''")
    assert await said_so_far(tab) == ["This conversation is gone, or was never there."]


async def test_a_board_is_heard_while_it_speaks_and_afterwards(
    service: Service, tab: Tab, gate: Path
) -> None:
    await opened(tab, service)
    await typed(tab, "@board:moderator,strategist rounds=1 boats", "#input")
    draft = "document.querySelector('.message:last-child')?.textContent === 'StrategistI say: bui'"
    await tab.until(draft)
    await reloaded(tab)
    await tab.until(draft)
    (gate / "boats-speech").touch()
    await tab.until("document.querySelector('#cancel').hidden")
    told = await said_so_far(tab)
    assert told[1:-1] == [
        "Board: Moderator, Strategist",
        "ModeratorWelcome.",
        "StrategistI say: build ships, and many.",
        "Moderator, summary of round 1Two views.",
    ]
    assert told[-1].startswith("Summary\n\nTwo views.")
    await reloaded(tab)
    assert await said_so_far(tab) == told


async def test_a_team_is_seen_while_it_works_and_afterwards(service: Service, tab: Tab) -> None:
    await opened(tab, service)
    await said(tab, "@team count ships")
    await tab.until("document.querySelector('.message:last-child')?.textContent === 'There are ships.'")
    await tab.until("document.querySelector('#cancel').hidden")
    told = await said_so_far(tab)
    assert told[1] == "Team: Product Manager, Researcher, Engineer, Writer"
    assert {"Research: Researcher begins", "ResearcherTwo ships.", "Research: done"} <= set(told)
    assert "Design: failed. The model refused the request." in told
    await reloaded(tab)
    assert sorted(await said_so_far(tab)) == sorted(told), "phases work beside one another"


async def test_who_has_scrolled_back_is_left_there(service: Service, tab: Tab, gate: Path) -> None:
    await opened(tab, service)
    await typed(tab, "\n".join(["a long message"] * 80), "#input")
    at_end = "((box) => box.scrollTop > 99 && box.scrollTop + box.clientHeight > box.scrollHeight - 2)"
    await tab.until(f"{at_end}(document.querySelector('#messages'))")
    await tab.until("document.querySelectorAll('.message.assistant').length === 1")
    await tab.run("document.querySelector('#messages').scrollTop = 0")
    await typed(tab, "hold three", "#input")
    await tab.until(f"{at_end}(document.querySelector('#messages'))")
    await tab.until(f"document.querySelector('.message:last-child').textContent === '{HELD[:15]}'")
    await tab.run("document.querySelector('#messages').scrollTop = 0")
    (gate / "three").touch()
    await tab.until("document.querySelector('#cancel').hidden")
    assert (await said_so_far(tab))[-1] == HELD
    assert await tab.run("document.querySelector('#messages').scrollTop") == 0


async def test_an_answer_has_the_form_that_the_model_gave_it(service: Service, tab: Tab) -> None:
    await opened(tab, service)
    await said(tab, "write it up")
    for _ in range(2):
        await tab.until("!!document.querySelector('.message.assistant pre')")
        assert await tab.texts(".message.assistant strong") == ["Plan", "Two"]
        assert await tab.texts(".message.assistant code") == ["a * b"]
        assert await tab.texts(".message.assistant pre") == ["if (a < b) **go**"]
        (answer,) = await tab.texts(".message.assistant")
        assert answer.endswith("2**3**4 and <b>this</b>"), "what is no form stays as it came"
        await reloaded(tab)


async def test_a_conversation_that_cannot_be_read_is_asked_for_again(service: Service, tab: Tab) -> None:
    """What is written meanwhile is kept."""
    async with portal(service, additional_headers=WITH_KEY) as line:
        await line.turn("what there was", conversation_id="later")
    await tab.call("Page.addScriptToEvaluateOnNewDocument", source=UNREAD)
    await tab.open(f"{service.url}/?api_key={KEY}#later")
    await tab.until("!!document.querySelector('.message.error')")
    await typed(tab, "what there is", "#input")
    await tab.run("window.isThere = true")
    await tab.until("document.querySelector('#state').textContent === 'connected'")
    assert await said_so_far(tab) == ["what there was", "You said: what there was"]
    assert await tab.run("document.querySelector('#input').value") == "what there is"


async def test_a_page_that_nobody_sees_leaves_its_socket_to_others(service: Service, tab: Tab) -> None:
    """A user may have 16."""
    await tab.call("Page.addScriptToEvaluateOnNewDocument", source=SOONER + HIDDEN)
    await opened(tab, service)
    async with AsyncExitStack() as others:
        lines = [
            await others.enter_async_context(portal(service, additional_headers=WITH_KEY)) for _ in range(16)
        ]
        await tab.until("document.querySelector('#state').textContent.startsWith('connection lost')")
        for line in lines:
            await line.send(type="ping")
            assert (await line.receive())["type"] == "pong"
    await tab.run("window.isSeen = true; document.dispatchEvent(new Event('visibilitychange'))")
    await tab.until("document.querySelector('#state').textContent === 'connected'")
    assert len([url for method, url in tab.asked if method == "WS"]) == 2


async def test_a_phone_has_the_conversations_too(service: Service, tab: Tab) -> None:
    await tab.look(width=390, height=844)
    await opened(tab, service)
    await said(tab, "what a day " * 9 + "x" * 200)
    await tab.until("!!document.querySelector('#list button')")
    for control in ("#new", "#list button", "#input", "#send", "#minutes h2"):
        assert await tab.run(
            f"(({{ x, y, right, bottom }}) => x >= 0 && y >= 0 && right <= 391 && bottom > y && bottom <= 845)"
            f"(document.querySelector('{control}').getBoundingClientRect())"
        ), control
    assert await tab.run("document.documentElement.scrollWidth") == 390


@pytest.mark.parametrize("dark", [False, True])
async def test_every_text_can_be_read_by_light_and_in_the_dark(
    service: Service, tab: Tab, *, dark: bool
) -> None:
    await tab.look(dark=dark)
    await opened(tab, service)
    await said(tab, "run it")
    await shown_card(tab)
    assert await faint_texts(tab) == []
    await tab.click(".ask .no")
