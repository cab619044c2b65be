"""The start page and the page of the API's calls without a browser. What they do is tested in `tests/browser`."""

import re
from importlib.resources import files

import httpx

from tests.support.service import Service

ELSEWHERE = r"(?:https?:)?//[^\s\"'>]+"


def source(name: str) -> str:
    return (files("app.pages") / name).read_text(encoding="utf-8")


async def test_the_page_of_the_calls_asks_nobody_else(service: Service, client: httpx.AsyncClient) -> None:
    """Nothing that it loads has another origin, and the policy of the start page would stop it."""
    start = await client.get(service.url)
    policy = start.headers["content-security-policy"]
    assert "default-src 'self';" in policy
    for path in ("/schema", "/schema/swagger", "/schema/nothing"):
        answer = await client.get(service.url + path)
        assert answer.headers["content-security-policy"] == policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert re.findall(ELSEWHERE, answer.text) == []
    page = (await client.get(service.url + "/schema")).text
    parts = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert {"/pages/swagger-ui.css", "/pages/swagger-ui-bundle.js", "/pages/schema.js"} <= set(parts)
    for part in (one for one in parts if not one.startswith("data:")):
        answer = await client.get(service.url + part)
        assert answer.status_code == 200, part
        assert answer.headers["content-security-policy"] == policy
        assert re.findall(r"@import|url\((?!\"?data:)", answer.text if part.endswith(".css") else "") == []
    (document,) = re.findall(r'url: "([^"]+)"', source("schema.js"))
    assert document == "/schema/openapi.json"
    assert (await client.get(service.url + document)).json()["paths"]


def test_the_start_page_says_everything_in_english_and_chinese() -> None:
    """The same texts with the same gaps; all that page and scripts name are there, and none is left over."""
    scripts = [source(path.name) for path in files("app.pages").iterdir() if path.name.startswith("app_")]
    english, chinese = (
        {key: set(re.findall(r"\{(\w+)\}", said)) for key, said in re.findall(r'(\w+): "([^"]*)"', part)}
        for part in re.findall(
            r"^  (?:en|zh): \{$(.*?)^  \},$", source("app_texts.js"), re.DOTALL | re.MULTILINE
        )
    )
    assert english == chinese
    named = set(re.findall(r'data-(?:text|placeholder|label)="(\w+)"', source("index.html")))
    named |= set(re.findall(r'dataset\.text = "(\w+)"', source("door.js")))
    for script in (source("app.js"), *scripts):
        named |= set(re.findall(r"\btexts\.(\w+)", script)) | set(re.findall(r'\bline\("(\w+)"', script))
    by_status = {"cancelled"}
    assert named | by_status == set(english)
