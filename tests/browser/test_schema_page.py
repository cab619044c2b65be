"""The calls of the API in a real browser, with nobody else asked."""

from collections.abc import Iterator

import pytest

from tests.browser.chromium import Tab, installed
from tests.support.databases import TestServer
from tests.support.service import Service, running_service, script

pytestmark = pytest.mark.skipif(
    installed() is None, reason="no Chromium is installed (Debian: apt-get install chromium)"
)


@pytest.fixture(scope="module")
def service(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """In development mode."""
    folder = tmp_path_factory.mktemp("service")
    with server.database() as dsn, running_service(folder, dsn, model=script(folder, [])) as running:
        yield running


async def test_calls_are_shown_and_tried_and_nobody_else_is_asked(service: Service, tab: Tab) -> None:
    """No error on the console: the policy has stopped nothing."""
    await tab.open(f"{service.url}/schema")
    await tab.until("document.querySelectorAll('.opblock').length > 50")
    shown = await tab.texts(".opblock-summary-path")
    assert any("/api/v1/portal/conversations/" in path.replace("\u200b", "") for path in shown)
    call = "#operations-portal-ApiV1PortalCapabilitiesReadCapabilities"
    await tab.click(f"{call} .opblock-summary-control")
    await tab.until(f"!!document.querySelector('{call} .try-out__btn')")
    await tab.click(f"{call} .try-out__btn")
    await tab.until(f"!!document.querySelector('{call} .execute')")
    await tab.click(f"{call} .execute")
    await tab.until(
        f"document.querySelector('{call} .live-responses-table tbody .response-col_status')?.textContent === '200'"
    )
    asked = [url for _, url in tab.asked if not url.startswith("data:")]
    assert f"{service.url}/schema/openapi.json" in asked
    assert f"{service.url}/api/v1/portal/capabilities" in asked
    assert [url for url in asked if not url.startswith(service.url)] == []
