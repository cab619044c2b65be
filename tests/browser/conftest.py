"""One browser for the tests of a module, and a tab of its own for each."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.browser.chromium import Tab, opened_tab, running_chromium


@pytest.fixture(scope="module")
def devtools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_chromium(tmp_path_factory.mktemp("chromium")) as address:
        yield address


@pytest.fixture
async def tab(devtools: str) -> AsyncIterator[Tab]:
    """Of somebody in Berlin who reads English. No test may leave an error on the page's console."""
    async with opened_tab(devtools) as opened:
        await opened.live_in(zone="Europe/Berlin", language="en-GB")
        await opened.look()
        yield opened
        assert [one for one in opened.problems if not one.startswith(opened.tolerated)] == []
