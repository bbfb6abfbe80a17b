"""What the documents name exists, and what exists is in the documents."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shield_core.cli.app import app
from shield_django.conf import NAMES

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
CHECK_ID = re.compile(r"shield\.[EWI]\d{3}")


def test_every_setting_is_documented_and_none_else():
    documented = set(re.findall(r"^\| `(SHIELD_\w+)`", (ROOT / "docs/settings.md").read_text(), re.M))
    assert documented == NAMES


def test_every_check_is_documented_and_none_else():
    checks = "".join(path.read_text() for path in (ROOT / "shield_django/checks").glob("*.py"))
    documented = set(CHECK_ID.findall((ROOT / "docs/checks.md").read_text()))
    assert documented == set(CHECK_ID.findall(checks))


def test_every_command_and_each_of_its_names_is_documented():
    documented = (ROOT / "docs/cli.md").read_text()
    for name, command in app.commands.items():
        of_group = list(getattr(command, "commands", ()))
        for word in [name, *of_group]:
            assert re.search(rf"`[^`\n]*\b{word}\b[^`\n]*`", documented), f"{name}: {word}"
    assert all(alias in documented for alias in ("log", "rate-limits", "service-maintenance"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), target
