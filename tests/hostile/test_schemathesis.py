"""Whatever the schema allows, and what it does not: no error of the server, and answers as described."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.heavy import HEAVY
from tests.hostile.conftest import Target

pytestmark = pytest.mark.servers

#: Seconds of one run.
BUDGET = 240 if HEAVY else 16
#: Otherwise nearly every key is one that no route has.
KNOWN_KEYS = """
[parameters]
"path.key" = ["payments:GET:/pay", "payments:POST:/pay", "static:GET:/files", "/orders"]
"path.service" = ["payments", "static", "login"]
"""
#: Left out: the stream, which does not end; what waits for as many seconds as it is told; and what ends
#: the token of the run.
LEFT_OUT = ["/sdk/events", "/store/restore", "/auth/logout"]
#: Some of what the schema allows cannot be, such as two ends of one window.
UNCHECKED = "positive_data_acceptance"
#: Where keys are given, schemathesis asks with methods that an address does not have for the text of their
#: whole list, ``['payments:GET:/pay', …]``, which is no key before it is a wrong method.
UNCHECKED_WITH_KEYS = f"{UNCHECKED},unsupported_method"


def attack(target: Target, folder: Path, config: str = "", unchecked: str = UNCHECKED) -> None:
    (folder / "schemathesis.toml").write_text(config)
    left_out = [word for path in LEFT_OUT for word in ("--exclude-path", path)]
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{target.address}/api/schema"),
        *("--header", target.bearer.decode(), "--max-time", str(BUDGET), "--request-timeout", "20"),
        *("--exclude-checks", unchecked, "--generation-database", "none", "--warnings", "off"),
        *left_out,
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=BUDGET * 4 + 60)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "Coverage" in done.stdout
    assert "Internal Server Error" not in target.server.log
    assert target.server.process.poll() is None
    assert target.call("GET", "auth/me", target.token).status_code == 200


@pytest.mark.heavy
@pytest.mark.parametrize("how", [(), (KNOWN_KEYS, UNCHECKED_WITH_KEYS)], ids=["any keys", "known keys"])
def test_the_schema_tells_the_truth(serve, tmp_path, how):
    attack(Target(serve()), tmp_path, *how)


@pytest.mark.heavy
@pytest.mark.skipif(not HEAVY, reason="SHIELD_HEAVY is not set")
@pytest.mark.parametrize("kind", ["uvicorn", "daphne"])
@pytest.mark.parametrize("backend", ["file", "models"])
def test_the_schema_tells_the_truth_over_stores(serve, tmp_path, kind, backend):
    options = {
        "file": {"backend": {"BACKEND": "file", "OPTIONS": {"path": str(tmp_path / "state.json")}}},
        "models": {"backend": "models", "database": f"sqlite:///{tmp_path / 'db.sqlite3'}"},
    }[backend]
    attack(Target(serve(kind, options)), tmp_path)
