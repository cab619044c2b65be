"""The pages without a browser: how they are served, and that what they name is there. What they show is tested in
`tests/browser`, where a browser is installed."""

import re
from functools import cache
from importlib.resources import files
from typing import Any

import httpx
import pytest

from app.api.pages import PAGES
from tests.support.service import Service

POLICY = {
    "default-src": "'self'",
    "img-src": "'self' data:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
MARKUP = (
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "document.write",
    "eval(",
    "new Function",
    "DOMParser",
)
"""Ways for what people write to become more than text."""


@cache
def source(name: str) -> str:
    return (files("app.pages") / name).read_text(encoding="utf-8")


def names(*kinds: str) -> list[str]:
    return sorted(one.name for one in files("app.pages").iterdir() if one.name.endswith(kinds))


def asked_by(script: str) -> set[str]:
    """The paths that the dashboard asks for under `/evolution`."""
    return {f"/api/v1/evolution/{path}" for path in re.findall(r'\bask\("(\w+)"', script)}


async def test_pages_and_all_that_they_ask_for_are_served_with_a_strict_policy(
    service: Service, client: httpx.AsyncClient
) -> None:
    """Also to whoever has no key: there is nothing of anybody in them."""
    wanted = set(PAGES)
    for name in names(".html"):
        wanted |= set(re.findall(r'(?:href|src)="(/pages/[^"]+)"', source(name)))
    for name in names(".js"):
        wanted |= {f"/pages/{part}" for part in re.findall(r'from "\./([^"]+)"', source(name))}
    assert wanted >= {
        "/dashboard",
        "/pages/dashboard.js",
        "/pages/dashboard_charts.js",
        "/pages/dashboard.css",
    }
    kinds = {"js": "text/javascript", "css": "text/css"}
    for path in sorted(wanted):
        answer = await client.get(service.url + path)
        assert answer.status_code == 200, path
        kind = kinds.get(path.rpartition(".")[2], "text/html")
        assert answer.headers["content-type"] == f"{kind}; charset=utf-8", path
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        policy = answer.headers["content-security-policy"].split("; ")
        assert dict(part.split(" ", 1) for part in policy) == POLICY
    assert {f"/pages/{name}" for name in names(".js", ".css")} <= wanted, "a file that no page asks for"


async def test_the_dashboard_names_only_what_there_is(client: httpx.AsyncClient, service: Service) -> None:
    """Its paths, their parameters, and its socket are in the documents of the API."""
    script = source("dashboard.js")
    document = (await client.get(service.url + "/schema/openapi.json")).json()
    assert asked_by(script) == {
        f"/api/v1/evolution/{name}" for name in ("metrics", "pitfalls", "experiences")
    }
    parameters = {path: parameters_of(document, path) for path in asked_by(script)}
    for path, named in re.findall(r'\bask\("(\w+)", \{ ([^}]*) \}', script):
        parts = [part.strip().partition(":")[0] for part in named.split(",")]
        given = {part for part in parts if not part.startswith("...")}
        missing = {*given, "owner"} - parameters[f"/api/v1/evolution/{path}"]
        assert not missing, f"{path} knows no {missing}"
    groups = set(re.findall(r'data-dimension="(\w+)"', source("dashboard.html")))
    assert {"outcome", "q"} <= parameters["/api/v1/evolution/experiences"]
    assert all("as_of" in known for known in parameters.values())
    for path in ("metrics", "experiences"):
        assert groups <= parameters[f"/api/v1/evolution/{path}"], "what the page may be narrowed to"
    sockets = (await client.get(service.url + "/schema/asyncapi.json")).json()
    addresses = {channel["address"] for channel in sockets["channels"].values()}
    assert re.findall(r"/api/v1/[\w/]+/ws\b", script) == ["/api/v1/evolution/ws"]
    assert "/api/v1/evolution/ws" in addresses
    metrics = await client.get("/evolution/metrics")
    assert groups <= set(metrics.json()["groups"]), "every dimension that can be chosen is answered"


def parameters_of(document: dict[str, Any], path: str) -> set[str]:
    return {parameter["name"] for parameter in document["paths"][path]["get"]["parameters"]}


@pytest.mark.parametrize("name", names(".html", ".js", ".css"))
def test_pages_need_nobody_else_and_make_no_markup_of_texts(name: str) -> None:
    text = source(name)
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)[^\s\"']*", text)
    for way in MARKUP:
        assert way not in text
    if name.endswith(".html"):
        assert not re.findall(r"\sstyle=|\son\w+=|<style|<script>", text), "the policy would stop it"


def test_the_dashboard_says_everything_in_english_and_chinese() -> None:
    """The same texts with the same gaps; all that page and scripts name are there, and none is left over."""
    script = source("dashboard_texts.js")
    english, chinese = (
        {key: set(re.findall(r"\{(\w+)\}", said)) for key, said in re.findall(r'(\w+): "([^"]*)"', part)}
        for part in re.findall(r"^  (?:en|zh): \{$(.*?)^  \},$", script, re.DOTALL | re.MULTILINE)
    )
    assert english == chinese
    page, code = source("dashboard.html"), "".join(source(name) for name in names(".js") if name != "app.js")
    named = set(re.findall(r'data-(?:text|label|placeholder)="(\w+)"', page)) | set(
        re.findall(r'\btext\("(\w+)"', code)
    )
    assert named <= set(english), named - set(english)
    used = named | set(re.findall(r'"(\w+)"', code)) | {f"nothing{period}" for period in ("24h", "7d", "30d")}
    assert set(english) <= used, set(english) - used
