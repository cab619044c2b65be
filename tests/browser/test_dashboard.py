"""The dashboard in a real browser: what a person sees of what is in the log, and what comes while they look."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.browser.chromium import Tab, installed
from tests.browser.contrast import faint_texts
from tests.browser.dashboard import ROWS, SHOWN, figure, past, shown
from tests.browser.way import way_to
from tests.support.databases import TestServer
from tests.support.portal import portal
from tests.support.projected import write
from tests.support.service import Service, running_service, script

pytestmark = pytest.mark.skipif(
    installed() is None, reason="no Chromium is installed (Debian: apt-get install chromium)"
)

RULES = [
    {
        "when": {"last_user_contains": "break"},
        "answer": {"error": {"class": "bad_request", "message": "The model refused the request."}},
    }
]
UNANSWERED = "Failed to load resource:"
MEMBER, OTHER = "member-key-0123456789abcdef", "other-key-0123456789abcdef"


@pytest.fixture(scope="module")
def service(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """In development mode. Tests that add to it stand behind those that count what is in it."""
    folder = tmp_path_factory.mktemp("service")
    with server.database() as dsn:
        write(dsn, past())
        with running_service(folder, dsn, model=script(folder, RULES)) as running:
            yield running


@pytest.fixture(scope="module")
def guarded(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """With two members, and nothing in its log."""
    folder = tmp_path_factory.mktemp("guarded")
    keys = f'[{{"key": "{MEMBER}", "user": "ana"}}, {{"key": "{OTHER}", "user": "ben"}}]'
    with (
        server.database() as dsn,
        running_service(folder, dsn, model=script(folder, RULES), api_keys=keys) as running,
    ):
        yield running


async def pointed(tab: Tab, chart: str) -> str:
    """What is told of the first bar with a failure, with the pointer on it."""
    await tab.run(f"document.querySelector('{chart}').scrollIntoView()")
    bar = await tab.run(
        f"(() => {{ const one = document.querySelector('{chart} .segment.failure').closest('.bar');"
        " const { x, y, width } = one.querySelector('.reach').getBoundingClientRect();"
        " return { x: x + width / 2, y: y + 5, title: one.querySelector('title').textContent }; })()"
    )
    await tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=bar["x"], y=bar["y"])
    await tab.until(f"document.querySelector('{chart} .readout').textContent === {json.dumps(bar['title'])}")
    return bar["title"]


async def said(service: Service, message: str, conversation_id: str = "talk") -> None:
    async with portal(service) as line:
        await line.turn(message, conversation_id=conversation_id)


WATCH_MOVES = """window.moved = 0;
new PerformanceObserver((list) => list.getEntries().forEach((one) => { window.moved += one.value; }))
  .observe({ type: "layout-shift", buffered: true });"""
MOVED = """new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(() =>
  setTimeout(() => resolve(window.moved)))))"""


async def test_it_shows_the_figures_of_a_day_and_of_a_week(service: Service, tab: Tab) -> None:
    """Exactly those of the runs in the log; nothing on the page moves while it comes, and only the service is asked."""
    await tab.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH_MOVES)
    await shown(tab, service)
    assert await tab.run(MOVED) < 0.01
    assert (await tab.texts(figure("runs")))[0] == "8"
    assert await tab.texts(figure("runs") + ".about") == ["5 succeeded, 2 failed, 1 cancelled"]
    assert (await tab.texts(figure("rate")))[0] == "71%"
    assert (await tab.texts(figure("durations")))[0] == "4s / 8s / 8s"
    assert (await tab.texts(figure("tokens")))[0] == "8,000"
    assert (await tab.texts(figure("cost")))[0] == "$2.00"
    assert (await tab.texts(figure("steps")))[0] == "16"
    heights = await tab.run(
        "[...document.querySelectorAll('#outcomes .bar')].map((bar) =>"
        " [...bar.querySelectorAll('.segment')].map((one) => one.getAttribute('class')).join())"
    )
    assert len(heights) == 25, "every hour that the day touches, also those in which nothing ended"
    assert sorted(filter(None, heights)) == sorted(
        ["segment success"] * 5 + ["segment failure"] * 2 + ["segment cancelled"]
    )
    label = await tab.run("document.querySelector('#outcomes svg').getAttribute('aria-label')")
    assert "8 in all, 5 succeeded, 2 failed, 1 cancelled" in label
    title = await pointed(tab, "#outcomes")
    assert title.endswith("success 0 · cancelled 0 · failure 1")
    told = await tab.texts("#outcomes details tbody tr")
    assert len(told) == 25, "the same as a table"
    await tab.click("[data-period='7d']")
    await tab.until(f"document.querySelector('{figure('runs')}').textContent === '68'")
    assert len(await tab.texts("#outcomes .bar")) == 8
    assert "period=7d" in await tab.run("location.search"), "a reload shows the same"
    assert (
        await tab.run("document.querySelector('[data-period=\"7d\"]').getAttribute('aria-pressed')") == "true"
    )
    for _, url in tab.asked:
        assert url.startswith((service.url, service.socket_url, "data:")), url


async def test_the_timeline_is_in_the_time_zone_of_who_looks(service: Service, tab: Tab) -> None:
    await tab.live_in(zone="Asia/Tehran", language="en")
    await shown(tab, service)
    assert "Asia/Tehran" in (await tab.texts("#range"))[0]
    tehran = datetime.now(UTC) + timedelta(hours=3, minutes=30)
    hours = [(tehran - timedelta(minutes=minutes)).strftime("%H:00") for minutes in (0, 5)]
    assert (await tab.texts("#use .bar title"))[-1].split(", ")[1][:5] in hours
    assert (await tab.texts("#use details tbody th"))[-1][-5:] in hours


async def test_tables_are_switched_and_have_percentiles(service: Service, tab: Tab) -> None:
    await shown(tab, service)
    assert [row.split("%")[0] for row in await tab.texts("#groups tbody tr")] == [
        "assistant4100",
        "researcher450",
    ]
    await tab.click("[data-dimension='skill']")
    await tab.until("document.querySelector('#groups tbody').textContent.includes('letters')")
    cells = await tab.texts("#groups tbody tr:last-child > *")
    assert await tab.texts("#groups tbody th") == ["(none)", "letters"]
    assert cells[1:6] == ["4", "50%", "3s", "7s", "7s"]
    for dimension, value in (("model", "small-model"), ("department", "sales"), ("mode", "react")):
        await tab.click(f"[data-dimension='{dimension}']")
        await tab.until(f"document.querySelector('#groups tbody th').textContent === '{value}'")
    assert await tab.texts("#tools tbody tr > *") == [
        "post_office",
        "8",
        "25%",
        "40ms",
        "40ms",
        "40ms",
        "40ms",
    ]
    assert await tab.texts("#errors tbody tr > *") == ["timeout", "2", "100%"]
    assert await tab.texts("#pitfalls .empty") == ["None found."]
    await tab.click("[data-measure='cost_usd']")
    await tab.until("document.querySelector('#use svg').getAttribute('aria-label').includes('$2.00 in all')")


async def test_what_has_just_ended_appears_by_itself(service: Service, tab: Tab) -> None:
    """What people write is text, whatever it looks like; what was opened stays open."""
    await shown(tab, service, "?by=task_type")
    await tab.until(f"document.querySelector('{ROWS}')")
    before = int((await tab.texts(figure("runs")))[0])
    await tab.click(f"{ROWS} summary")
    await tab.until(f"document.querySelector('{ROWS} dl')")
    title = await pointed(tab, "#outcomes")
    evil = "<img src=x onerror=alert(1)><b>break</b> it"
    await said(service, evil)
    await tab.until(f"document.querySelector('{ROWS} summary').textContent.startsWith('<img')")
    assert (await tab.texts(f"{ROWS} summary"))[0] == evil
    assert await tab.run("document.querySelectorAll('main img, main b').length") == 0
    assert await tab.texts(f"{ROWS}:first-child .outcome") == ["failure"]
    assert await tab.run(f"document.querySelectorAll('{ROWS}')[1].querySelector('details').open")
    await tab.until(f"document.querySelector('{figure('runs')}').textContent === '{before + 1}'")
    await tab.until("document.querySelector('#errors').textContent.includes('bad_request')")
    assert await tab.texts("#outcomes .readout") == [title], "what the pointer rests on is told on"
    await tab.click(f"{ROWS} summary")
    await tab.until(
        f"document.querySelector('{ROWS} dl').textContent.includes('The model refused the request.')"
    )
    href = await tab.run(f"document.querySelector('{ROWS} dl a').href")
    assert href == f"{service.url}/#talk"


async def test_a_lost_connection_comes_back_and_misses_nothing(service: Service, tab: Tab) -> None:
    """What ends meanwhile is more than a page of the list, and is in it once."""
    tab.tolerated = (UNANSWERED, "WebSocket connection to")
    async with way_to(service) as way:
        await tab.open(way.url + "/dashboard")
        await tab.until(SHOWN)
        await tab.until("document.querySelector('#state').textContent === 'live'")
        before = set(await tab.run(f"[...document.querySelectorAll('{ROWS}')].map((row) => row.dataset.id)"))
        way.cut()
        await tab.until("document.querySelector('#state').textContent.startsWith('connection lost')")
        async with service.client() as client:
            asked = [{"message": f"meanwhile {n}", "conversation_id": f"meanwhile{n}"} for n in range(30)]
            answers = await asyncio.gather(*(client.post("/portal/chat", json=one) for one in asked))
            assert {answer.status_code for answer in answers} == {200}
        way.is_cut = False
        await tab.until("document.querySelector('#state').textContent === 'live'")
        await tab.until(f"document.querySelectorAll('{ROWS}').length >= {len(before) + 30}")
        goals = await tab.texts(f"{ROWS} summary")
        assert sorted(goals[:30]) == sorted(one["message"] for one in asked)
        after = await tab.run(f"[...document.querySelectorAll('{ROWS}')].map((row) => row.dataset.id)")
        assert len(after) == len(set(after))
        assert before <= set(after)
        resumed = [url for kind, url in tab.asked if kind == "WS"]
        assert "after=" in resumed[-1], "behind the cursor of the last frame"


async def test_the_list_is_filtered_and_goes_on(service: Service, tab: Tab) -> None:
    await shown(tab, service)
    assert len(await tab.texts(ROWS)) == 25
    await tab.click("#more")
    await tab.until(f"document.querySelectorAll('{ROWS}').length === 50")
    await choose(tab, "cancelled")
    await tab.until(f"document.querySelectorAll('{ROWS}').length === 1")
    assert await tab.texts(f"{ROWS} .outcome") == ["cancelled"]
    assert await tab.run("document.querySelector('#more').hidden")
    await choose(tab, "")
    await search(tab, "letter 17")
    await tab.until(f"document.querySelector('{ROWS} summary').textContent === 'write letter number 17'")
    assert len(await tab.texts(ROWS)) == 1
    await said(service, "something that has nothing to do with it")
    await said(service, "one more letter 17")
    await tab.until(f"document.querySelectorAll('{ROWS}').length === 2")
    assert (await tab.texts(f"{ROWS} summary"))[0] == "one more letter 17"
    await search(tab, "nowhere to be found")
    await tab.until("document.querySelector('#experiences .empty')")
    assert await tab.texts("#experiences .empty") == ["Nothing matches."]


async def choose(tab: Tab, outcome: str) -> None:
    await tab.run(
        f"(() => {{ const node = document.querySelector('#outcome'); node.value = '{outcome}';"
        " node.dispatchEvent(new Event('change')); })()"
    )


async def search(tab: Tab, words: str) -> None:
    await tab.run("document.querySelector('#search').select()")
    await tab.run("document.querySelector('#search').focus()")
    await tab.call("Input.insertText", text=words)


async def test_it_speaks_chinese_and_english_and_is_dark_where_the_system_is(
    service: Service, tab: Tab
) -> None:
    await tab.live_in(zone="Asia/Shanghai", language="zh-CN")
    await shown(tab, service)
    assert await tab.run("document.documentElement.lang") == "zh"
    assert (await tab.texts("#outcomes .legend li")) == ["成功", "已取消", "失败"]
    assert "失败" in (await tab.texts(figure("runs") + ".about"))[0]
    await tab.click("[data-language='en']")
    assert await tab.texts("#outcomes .legend li") == ["success", "cancelled", "failure"]
    await shown(tab, service)
    assert await tab.run("document.documentElement.lang") == "en", "it is remembered"
    light = await tab.run(COLOURS)
    assert await faint_texts(tab) == []
    await tab.look(dark=True)
    dark = await tab.run(COLOURS)
    assert await faint_texts(tab) == []
    assert sum(light[0]) > sum(light[1]), "dark on light"
    assert sum(dark[0]) < sum(dark[1]), "light on dark"
    await tab.look(width=400)
    wide = await tab.run("document.documentElement.scrollWidth")
    assert wide <= 400, "tables scroll in themselves, the page does not"
    await tab.open(service.url)
    await tab.until("document.querySelector('#state').textContent === 'connected'")


COLOURS = """['Canvas', 'CanvasText'].map((name) => {
  const probe = document.body.appendChild(document.createElement('i'));
  probe.style.color = name;
  const found = getComputedStyle(probe).color.match(/\\d+/g).slice(0, 3).map(Number);
  probe.remove();
  return found;
})"""


async def test_a_key_is_asked_for_and_opens_ones_own_alone(guarded: Service, tab: Tab) -> None:
    tab.tolerated = (UNANSWERED,)  # a 401
    async with portal(guarded, additional_headers={"X-API-Key": OTHER}) as line:
        await line.turn("what ben asked", conversation_id="bens")
    await tab.open(guarded.url + "/dashboard")
    await tab.until("!document.querySelector('#door').hidden")
    assert await tab.run("document.querySelector('main').hidden")
    await enter(tab, "not-the-key-0123456789")
    await tab.until("document.querySelector('#trouble').textContent === 'This key is not valid here.'")
    await enter(tab, MEMBER)
    await tab.until(SHOWN)
    await tab.until("document.querySelector('#state').textContent === 'live'")
    assert await tab.texts("#nothing") == ["Nothing has ended in these 24 hours."]
    assert await tab.texts("#experiences .empty") == ["Nothing matches."]
    assert (await tab.texts("#range"))[0].endswith("runs of ana")
    async with portal(guarded, additional_headers={"X-API-Key": MEMBER}) as line:
        await line.turn("what ana asked", conversation_id="anas")
    await tab.until(f"document.querySelector('{ROWS}')")
    await tab.until("document.querySelector('#nothing').textContent === ''")
    assert await tab.texts(f"{ROWS} summary") == ["what ana asked"]
    assert not [url for _, url in tab.asked if MEMBER in url], "no key that was typed is in an address"


async def enter(tab: Tab, key: str) -> None:
    await tab.until("!document.querySelector('#door').hidden")
    await tab.run("document.querySelector('#key').focus()")
    await tab.call("Input.insertText", text=key)
    await tab.click("#door button")


async def test_the_start_page_leads_here_and_back(guarded: Service, tab: Tab) -> None:
    """With the key that it was opened with."""
    await tab.open(f"{guarded.url}/?api_key={MEMBER}")
    await tab.until("document.querySelector('#state').textContent === 'connected'")
    href = await tab.run("document.querySelector('#dashboard').href")
    assert href == f"{guarded.url}/dashboard?api_key={MEMBER}"
    await tab.open(href)
    await tab.until(SHOWN)
    assert await tab.run("document.querySelector('#start').href") == f"{guarded.url}/?api_key={MEMBER}"
