"""What the documents name exists, and what exists is in the documents."""

from __future__ import annotations

import ast
import re
import shlex
from datetime import UTC
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from shield_core.cli.app import app
from shield_django.api.urls import urlpatterns
from shield_django.conf import NAMES

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
PACKAGES = ("shield_core", "shield_django", "shield_fastapi")
CHECK_ID = re.compile(r"shield\.[EWI]\d{3}")
VARIABLE = re.compile(r"\bSHIELD_[A-Z_]+[A-Z]\b")
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def test_every_setting_is_documented_and_none_else():
    documented = set(re.findall(r"^\| `(SHIELD_\w+)`", (ROOT / "docs/settings.md").read_text(), re.M))
    assert documented == NAMES


def test_every_variable_of_the_environment_is_documented_and_none_else():
    sources = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    read = {name for path in sources for name in VARIABLE.findall(path.read_text())} | NAMES
    documents = [path for path in DOCUMENTS if path.name != "CONTRIBUTING.md"]  # of the tests
    documented = {name for path in documents for name in VARIABLE.findall(path.read_text())}
    assert documented == read


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


def test_every_endpoint_is_documented():
    documented = " ".join(re.findall(r"`([^`\n]+)`", (ROOT / "docs/rest.md").read_text()))
    for pattern in urlpatterns:
        for word in re.sub(r"<[^>]*>", "", str(pattern.pattern)).split("/"):
            assert re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", documented), pattern


@each_document
def test_links_lead_somewhere(document):
    for target, heading in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", document.read_text()):
        if "://" not in target:
            page = document.parent / target if target else document
            assert page.exists(), target
            assert not heading or heading in anchors(page), f"{target}#{heading}"


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_document
def test_code_can_be_pasted(document):
    for code in re.findall(r"^```python\n(.*?)^```", document.read_text(), re.M | re.S):
        compile(code, document.name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)


@each_document
def test_command_lines_are_understood(document):
    """Their words and options, that is; what they do is tested where they are."""
    for block in re.findall(r"^```console\n(.*?)^```", document.read_text(), re.M | re.S):
        for line in re.findall(r"^\$ (?:\w+=\S+ )*(?:(?:python )?manage\.py )?shield (.+)", block, re.M):
            command, words = app, shlex.split(line.partition(" > ")[0], comments=True)
            context = click.Context(app, obj=SimpleNamespace(zone=UTC))
            while isinstance(command, click.Group):
                name, command, words = command.resolve_command(context, words)
            command.make_context(name, words, parent=context)


def test_every_picture_is_shown():
    shown = {name for page in DOCUMENTS for name in re.findall(r"images/([\w-]+\.png)", page.read_text())}
    assert shown == {path.name for path in (ROOT / "docs/images").iterdir()}
