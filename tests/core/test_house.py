"""What holds for the package as a whole."""

import subprocess
import sys

from shield_core import sync_generator

FRAMEWORKS = (
    "django",
    "rest_framework",
    "channels",
    "fastapi",
    "starlette",
    "shield_django",
    "shield_fastapi",
)

IMPORT_ALL = """
import pkgutil, sys, shield_core
for module in pkgutil.walk_packages(shield_core.__path__, "shield_core."):
    if not module.name.endswith("__main__"):
        __import__(module.name)
print(*sys.modules, sep="\\n")
"""


def python(code: str) -> str:
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return run.stdout


def test_the_core_imports_no_web_framework():
    loaded = {name.partition(".")[0] for name in python(IMPORT_ALL).splitlines()}
    assert "shield_core" in loaded
    assert loaded.isdisjoint(FRAMEWORKS)


def test_importing_the_engine_starts_no_thread():
    code = "import threading, shield_core.engine as e; e.ShieldEngine(); print(threading.active_count())"
    assert python(code).strip() == "1"


def test_the_plain_form_of_the_engine_is_up_to_date():
    assert sync_generator.generate() == sync_generator.TARGET.read_text(), (
        "run: python -m shield_core.sync_generator"
    )
