"""What the wire contract says of REST and no other test holds it to, capabilities and titles above all (section 1)."""

import re
from pathlib import Path

import httpx

from tests.acceptance.test_development_mode import minutebook
from tests.support.service import Service, running_service, script

SKILL = """---
name: {name}
description: A skill of a test.
capabilities: [{tags}]
---
Do it.
"""


def shelve(folder: Path, name: str, tags: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "SKILL.md").write_text(SKILL.format(name=name, tags=tags), encoding="utf-8")


async def test_capabilities_count_the_skills_of_this_deployment_and_say_what_works(
    tmp_path: Path, dsn: str
) -> None:
    """Section 1: "`skill_count` = registered skills that carry the category as a capability tag; every skill also
    counts towards `skills`. `enabled` says truthfully whether the category works in this deployment." Guard: without
    the deployment's skills and tools handed on, nothing is counted and no terminal works."""
    skills = tmp_path / "skills"
    shelve(skills, "one-of-chat", "chat, terminal")
    shelve(skills, "one-of-terminal", "terminal")
    shelve(skills, "one-of-nothing", "")
    seen = {}
    for shell in ("false", "true"):
        settings = {"model": script(tmp_path, []), "shell": shell, "skills_dirs": f'["{skills}"]'}
        with running_service(tmp_path, dsn, **settings) as service:
            async with service.client() as client:
                found = (await client.get("/portal/capabilities")).json()["capabilities"]
                seen[shell] = {entry["name"]: entry for entry in found}
    for found in seen.values():
        names = {name: {skill["name"] for skill in entry.get("skills", ())} for name, entry in found.items()}
        assert all(entry["skill_count"] == len(names[name]) for name, entry in found.items())
        assert {"one-of-chat", "one-of-terminal", "one-of-nothing"} <= names["skills"]
        assert set().union(*names.values()) == names["skills"]
        assert "one-of-chat" in names["chat"]
        assert {"one-of-chat", "one-of-terminal"} <= names["terminal"]
        assert "one-of-nothing" not in names["chat"] | names["terminal"]
        assert (found["chat"]["enabled"], found["skills"]["enabled"]) == (True, True)
    assert [seen[shell]["terminal"]["enabled"] for shell in ("false", "true")] == [False, True]


async def test_titles_are_the_same_after_a_restart_from_the_log_alone(tmp_path: Path, dsn: str) -> None:
    """Section 1: "Title: first user message, with a leading `@board…`/`@team…` command (prefix, `:experts`, `rounds=N`)
    stripped, cut at 20 characters with `...` behind if cut; where nothing is left, the locale's word for
    "conversation". The same after a restart, from the log alone." """
    model = script(tmp_path, [])
    wanted = {
        "plain": ("short and plain", "short and plain"),
        "long": ("a message of more than twenty characters", "a message of more th..."),
        "exact": ("x" * 20, "x" * 20),
        "board": ("@board rounds=1 boats and ships of all kinds", "boats and ships of a..."),
        "team": ("@team write a song", "write a song"),
    }
    lists = []
    for _ in range(2):
        with running_service(tmp_path, dsn, model=model) as service:
            async with service.client() as client:
                if not lists:
                    for name, (message, _title) in wanted.items():
                        sent = {"message": message, "conversation_id": name}
                        answer = await client.post("/portal/chat", json=sent)
                        assert answer.status_code == 200, answer.text
                    opened = {"agent_name": "assistant", "session_id": "nothing-said"}
                    assert (await client.post("/chat/sessions", json=opened)).status_code == 201
                lists.append((await client.get("/portal/conversations")).json())
                untitled = (await client.get("/chat/sessions/nothing-said")).json()
        assert untitled["title"] == "conversation"
        built = minutebook(tmp_path, dsn, "project", "rebuild", "conversations", model=model)
        assert built.returncode == 0, built.stderr
    before, after = lists
    assert {one["id"]: one["title"] for one in before if one["id"] in wanted} == {
        name: title for name, (_, title) in wanted.items()
    }
    assert after == before


async def test_a_department_is_renamed_and_read(client: httpx.AsyncClient) -> None:
    """Beyond section 9: the departments that carry quotas."""
    added = await client.post("/admin/departments", json={"department_id": "law", "name": "Law"})
    assert added.status_code == 201
    renamed = await client.patch("/admin/departments/law", json={"name": "Law and order"})
    assert renamed.json()["name"] == "Law and order"
    assert (await client.get("/admin/departments/law")).json() == renamed.json()
    assert (await client.get("/admin/departments/none")).status_code == 404
    assert (await client.patch("/admin/departments/none", json={"name": "x"})).status_code == 404


async def test_the_start_page_has_all_that_it_asks_for(service: Service, client: httpx.AsyncClient) -> None:
    page = (await client.get(service.url)).text
    parts = re.findall(r'(?:href|src)="(/pages/[^"]+)"', page)
    assert len(parts) >= 2
    for part in parts:
        assert (await client.get(service.url + part)).status_code == 200
