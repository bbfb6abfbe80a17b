"""A Shield Server to try.

From the repository's root::

    .venv/bin/uvicorn example_project.server:app --port 9000

Log in at http://localhost:9000/ as ``admin`` with the password ``secret``. Its state is in
``.demo/server.json``. A real one has a password and a key of its own: see ``docs/server.md``.
"""

from __future__ import annotations

from pathlib import Path

from shield_core.backends.file import FileBackend
from shield_django.server import ShieldServer

STATE = Path(".demo/server.json")
STATE.parent.mkdir(parents=True, exist_ok=True)

app = ShieldServer(FileBackend(STATE), auth=("admin", "secret"), secret_key="only for trying")
