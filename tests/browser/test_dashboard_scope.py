"""The dashboard as of a moment and narrowed to one group, in a real browser: by its controls and by its address."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, quote
from zoneinfo import ZoneInfo

import pytest

from tests.browser.chromium import Tab, installed
from tests.browser.dashboard import ROWS, SHOWN, figure, past, shown
from tests.support.databases import TestServer
from tests.support.projected import write
from tests.support.service import Service, running_service, script

pytestmark = pytest.mark.skipif(
    installed() is None, reason="no Chromium is installed (Debian: apt-get install chromium)"
)

HEARD = """window.WebSocket = class extends WebSocket {
  constructor(...address) {
    super(...address);
    this.addEventListener("message", ({ data }) => { document.documentElement.dataset.heard = JSON.parse(data).type; });
  }
};"""
"""The page tells in itself what its socket has heard last."""
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture(scope="module")
def service(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    with server.database() as dsn:
        write(dsn, past())
        with running_service(folder, dsn, model=script(folder, [])) as running:
            yield running


def before_the_last_three() -> datetime:
    """Five of the eight runs of the last day had ended then: of the assistant's two that succeeded, of the researcher's
    one that succeeded and two that failed."""
    return (datetime.now(UTC) - timedelta(hours=4, minutes=30)).replace(second=7, microsecond=0)


def rfc(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


async def set_control(tab: Tab, selector: str, value: str) -> None:
    """As a person does who is done with it."""
    await tab.run(
        f"(() => {{ const node = document.querySelector('{selector}'); node.value = '{value}';"
        " node.dispatchEvent(new Event('change')); })()"
    )


async def type_time(tab: Tab, at: datetime) -> None:
    """Key by key, in the order of the fields that an English Chromium has."""
    await tab.run("document.querySelector('#asOf').focus()")
    for key in at.strftime("%m%d%Y%I%M%S%p"):
        await tab.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=key)
        await tab.call("Input.dispatchKeyEvent", type="keyUp", key=key)
    assert await tab.run("document.querySelector('#asOf').value") == at.replace(tzinfo=None).isoformat()


async def runs_are(tab: Tab, count: int, about: str) -> None:
    await tab.until(f"document.querySelector('{figure('runs')}').textContent === '{count}'")
    assert await tab.texts(figure("runs") + ".about") == [about]


async def query_of(tab: Tab) -> dict[str, list[str]]:
    return parse_qs((await tab.run("location.search")).removeprefix("?"), keep_blank_values=True)


async def test_a_moment_is_chosen_and_what_ends_later_stays_out_until_now_is_asked_for(
    service: Service, tab: Tab
) -> None:
    await tab.call("Page.addScriptToEvaluateOnNewDocument", source=HEARD)
    await shown(tab, service)
    await runs_are(tab, 8, "5 succeeded, 2 failed, 1 cancelled")
    assert await tab.run("document.querySelector('#now').hidden")
    at = before_the_last_three()
    await type_time(tab, at.astimezone(BERLIN))
    await runs_are(tab, 5, "3 succeeded, 2 failed, 0 cancelled")
    await tab.until(f"document.querySelector('{ROWS} summary').textContent === 'write letter number 64'")
    assert (await query_of(tab))["as_of"] == [rfc(at)]
    assert (await tab.texts("#state"))[0].startswith("as of ")
    asked = [url for _, url in tab.asked if "/evolution/" in url]
    assert all(f"as_of={quote(rfc(at), safe='')}" in url for url in asked[-4:])
    async with service.client() as client:
        answer = await client.post("/portal/chat", json={"message": "what is new", "conversation_id": "talk"})
        assert answer.status_code == 200
    await tab.until("document.documentElement.dataset.heard === 'metrics_updated'")
    assert [url for _, url in tab.asked if "/evolution/" in url] == asked, "the past is asked for once"
    assert (await tab.texts(figure("runs")))[0] == "5"
    await tab.click("#now")
    await runs_are(tab, 9, "6 succeeded, 2 failed, 1 cancelled")
    await tab.until(f"document.querySelector('{ROWS} summary').textContent === 'what is new'")
    assert "as_of" not in await query_of(tab)
    assert await tab.texts("#state") == ["live"]
    assert await tab.run("document.querySelector('#asOf').value") == ""


async def test_one_group_is_chosen_and_everything_again(service: Service, tab: Tab) -> None:
    """Tables of what is counted for everything only say so."""
    await shown(tab, service, "?period=7d")
    everything = (await tab.texts(figure("runs")))[0]
    assert await tab.run("document.querySelector('#group').value") == ""
    assert "researcher" in await tab.texts("#group optgroup[label=Agent] option")
    await set_control(tab, "#group", "agent:researcher")
    await runs_are(tab, 34, "32 succeeded, 2 failed, 0 cancelled")
    assert (await tab.texts("#range"))[0].endswith("everybody’s runs, Agent: researcher")
    assert await tab.texts("#groups .chosen th") == ["researcher"]
    assert len(await tab.texts("#groups tbody tr")) == 2, "those beside it stay to be seen"
    for table in ("tools", "errors", "pitfalls"):
        assert await tab.texts(f"#{table} td") == ["Counted for everything together, not for one group."]
    await tab.until(f"document.querySelector('{ROWS} summary').textContent === 'write letter number 66'")
    assert set(await tab.texts(f"{ROWS} td:nth-child(5)")) == {"researcher"}
    await tab.click("#more")
    await tab.until(f"document.querySelectorAll('{ROWS}').length === 34")
    assert (await query_of(tab))["agent"] == ["researcher"]
    await set_control(tab, "#group", "skill:")
    await tab.until("document.querySelector('#range').textContent.endsWith('Skill: (none)')")
    query = await query_of(tab)
    assert (query["skill"], "agent" in query) == ([""], False)
    await tab.until(f"document.querySelector('{ROWS} td:nth-child(5)').textContent === 'assistant'")
    await set_control(tab, "#group", "")
    await tab.until(f"document.querySelector('{figure('runs')}').textContent === '{everything}'")
    await tab.until("document.querySelector('#tools tbody').textContent.includes('post_office')")
    assert not {"skill", "agent"} & set(await query_of(tab))


async def test_a_link_shows_the_same_to_somebody_else(service: Service, tab: Tab) -> None:
    at = before_the_last_three()
    await tab.live_in(zone="Asia/Shanghai", language="zh-CN")
    await shown(tab, service, f"?agent=researcher&as_of={at.isoformat()}")
    await runs_are(tab, 3, "成功 1，失败 2，取消 0")
    local = at.astimezone(ZoneInfo("Asia/Shanghai")).replace(tzinfo=None).isoformat()
    assert await tab.run("document.querySelector('#asOf').value") == local
    assert await tab.run("document.querySelector('#group').selectedOptions[0].textContent") == "researcher"
    await tab.until("document.querySelector('#state').textContent.startsWith('截至 ')")
    assert await tab.texts("#bar label > span") == ["截至", "仅看"]
    assert await tab.texts("#tools td") == ["仅对全部合计，不按单个分组计数。"]
    await tab.click("[data-period='7d']")
    await runs_are(tab, 33, "成功 31，失败 2，取消 0")
    query = await query_of(tab)
    assert (query["agent"], query["as_of"], query["period"]) == (["researcher"], [at.isoformat()], ["7d"])
    await tab.click("[data-language='en']")
    assert await tab.texts("#group > option") == ["everything"]


async def test_a_position_is_a_moment_and_what_is_none_is_told(service: Service, tab: Tab) -> None:
    tab.tolerated = ("Failed to load resource:",)  # a 400
    async with service.client() as client:
        found = (await client.get("/evolution/experiences?q=letter&limit=2")).json()["experiences"]
    await shown(tab, service, f"?as_of=position:{found[1]['position']}")
    await tab.until(f"document.querySelector('{ROWS} summary').textContent === {found[1]['goal']!r}")
    await tab.until(
        f"document.querySelector('#state').textContent === 'as of position:{found[1]['position']}'"
    )
    await runs_are(tab, 7, "4 succeeded, 2 failed, 1 cancelled")
    await tab.open(f"{service.url}/dashboard?as_of=yesterday&agent=nobody")
    await tab.until(f"{SHOWN} && document.querySelector('#trouble').textContent.startsWith('as_of=')")
    await tab.click("#now")
    await tab.until("document.querySelector('#trouble').hidden")
    await runs_are(tab, 0, "0 succeeded, 0 failed, 0 cancelled")
    assert await tab.run("document.querySelector('#group').selectedOptions[0].textContent") == "nobody"
