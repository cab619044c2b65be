"""The OpenAPI document is true: Schemathesis makes thousands of calls of it, good and bad ones, to the real server.

All of its checks are on: `schema/schemathesis.toml` says what is taken back and why, `schema/hooks.py` what it has to
be told. The calls are the same in every run.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.databases import TestServer
from tests.support.service import ROOT, running_service, script
from tests.support.walk import openapi

HERE = Path(__file__).parent / "schema"
ROOT_KEY = "key-of-root-0123456789"
RUN_SECONDS_MAX = 400


@pytest.mark.timeout(RUN_SECONDS_MAX + 60)
def test_the_server_does_what_its_document_says(server: TestServer, tmp_path: Path) -> None:
    """Every call that the document knows was made; the server has found nothing that it did not expect."""
    settings = {
        "model": script(tmp_path, []),
        "api_keys": json.dumps([{"key": ROOT_KEY, "user": "root", "role": "admin"}]),
        "feed_heartbeat_seconds": "1",
    }
    with server.database() as dsn, running_service(tmp_path / "service", dsn, **settings) as service:
        run = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", HERE / "schemathesis.toml"),
                *("--no-color", "run", f"{service.url}/schema/openapi.json"),
                *("--header", f"X-API-Key: {ROOT_KEY}"),
                *("--phases", "examples,coverage,fuzzing,stateful"),
            ],
            cwd=tmp_path,
            env={
                **os.environ,
                "SCHEMATHESIS_HOOKS": "tests.acceptance.schema.hooks",
                "PYTHONPATH": str(ROOT),
            },
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS_MAX,
        )
        output = "".join(service.output)
    shown = run.stdout[-8000:] + run.stderr[-2000:]
    assert run.returncode == 0, shown
    assert "unexpected_error" not in output
    assert "Traceback" not in output
    summary = next(line for line in run.stdout.splitlines() if "Tested:" in line)
    assert int(summary.split(":")[1]) == sum(len(methods) for methods in openapi()["paths"].values()), shown
