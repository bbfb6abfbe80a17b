# ruff: noqa: T201 - a command line tool: printing is its purpose
"""Make the virtual environment of this checkout, or bring it up to date.

    python .ci/environment.py [--venv DIR] [--quiet] [--with REQUIREMENT] GROUP…

installs the package (editable) and the named dependency groups of pyproject.toml. A stamp in the
environment remembers what was installed: when nothing has changed, nothing runs and no network is
needed. Standard library only, because it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def main() -> int:
    parser = argparse.ArgumentParser(description="Make or update the virtual environment.")
    parser.add_argument("groups", nargs="+", choices=sorted(PYPROJECT["dependency-groups"]))
    parser.add_argument("--venv", default=".venv")
    parser.add_argument("--with", dest="extra", action="append", default=[], metavar="REQUIREMENT")
    parser.add_argument("--quiet", action="store_true", help="say nothing when nothing is to be done")
    options = parser.parse_args()

    venv = ROOT / options.venv
    stamp = venv / ".shield-stamp.json"
    known = _read(stamp)
    groups = sorted({*known.get("groups", []), *options.groups})
    wanted = {"groups": groups, "digest": _digest(options.extra), "venv": str(venv)}
    complete = (venv / "bin" / "python").exists() and (venv / "bin" / "pip").exists()
    usable = complete and known.get("venv", str(venv)) == str(venv)
    if options.quiet and usable and known == wanted:
        return 0

    started = time.monotonic()
    if not usable:
        shutil.rmtree(venv, ignore_errors=True)
        base = getattr(sys, "_base_executable", sys.executable)
        if subprocess.run([base, "-m", "venv", str(venv)]).returncode:
            print(f"{sys.executable} cannot make {venv}: see above (Debian: apt install python3-venv).")
            return 1
    _step(1, "environment", f"{options.venv}, {_version(venv)}", started)

    started = time.monotonic()
    if known == wanted and usable:
        _step(2, "packages", "up to date", started)
        return 0
    requirements = [*options.extra, *(line for group in groups for line in _requirements(group))]
    if not _install(venv, ["--editable", str(ROOT), *requirements]):
        print("The packages could not be installed: see above. The first run needs a network.")
        return 1
    stamp.write_text(json.dumps(wanted))
    _step(2, "packages", f"installed for {', '.join(groups)}", started)
    return 0


def _install(venv: Path, arguments: list[str]) -> bool:
    """Install with uv, which is five times as fast, and with pip where uv cannot."""
    python = str(venv / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    uv = venv / "bin" / "uv"
    if not uv.exists():
        subprocess.run([*pip, "uv"], capture_output=True)
    if uv.exists():
        with_uv = [str(uv), "pip", "install", "--quiet", "--python", python, *arguments]
        if subprocess.run(with_uv, capture_output=True).returncode == 0:
            return True
    return subprocess.run([*pip, *arguments]).returncode == 0


def _requirements(group: str) -> Iterator[str]:
    for entry in PYPROJECT["dependency-groups"][group]:
        if isinstance(entry, str):
            yield entry
        else:
            yield from _requirements(entry["include-group"])


def _digest(extra: list[str]) -> str:
    """Digest everything that decides what is installed, and nothing else of pyproject.toml."""
    project = PYPROJECT["project"]
    names = ("version", "dependencies", "optional-dependencies", "scripts", "entry-points")
    parts: list[Any] = [project.get(name) for name in names]
    parts += [PYPROJECT["dependency-groups"], PYPROJECT["build-system"], PYPROJECT["tool"]["setuptools"]]
    return hashlib.sha256(json.dumps([*parts, extra], sort_keys=True).encode()).hexdigest()


def _read(stamp: Path) -> dict[str, Any]:
    try:
        found = json.loads(stamp.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _version(venv: Path) -> str:
    asked = [str(venv / "bin" / "python"), "--version"]
    return subprocess.run(asked, capture_output=True, text=True).stdout.strip()


def _step(number: int, what: str, detail: str, started: float) -> None:
    print(f"{number}  {what:<12} {detail:<44} {time.monotonic() - started:5.1f} s", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nStopped; the next run goes on from here.")
