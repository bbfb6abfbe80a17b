"""The published package, `api-shield` 0.8.3, in a virtual environment of its own.

Its framework is pinned: a Starlette newer than those it knew must not be what fails a test.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = ["api-shield[all]==0.8.3", "fastapi==0.135.2", "starlette==1.0.0", "httpx", "uvicorn"]


def install(folder: Path) -> Path:
    """Return the directory of its programs below ``folder``. Raises OSError where it cannot be fetched."""
    programs, complete = folder / "venv" / "bin", folder / "complete"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the workers of one run share it
        if not complete.exists():
            shutil.rmtree(folder / "venv", ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
            command = [str(programs / "python"), "-m", "pip", "install", "-q", *REQUIREMENTS]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise OSError(done.stderr[-300:])
            complete.touch()
    return programs


def environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of a process of the package, which knows nothing of this checkout."""
    ours = ("SHIELD_", "DJANGO_", "PYTHON", "COV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "HOME": str(home), "NO_PROXY": "*", **more}
