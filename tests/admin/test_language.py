"""The German catalogue: it is whole, and pages for operators and visitors are in the reader's language."""

from __future__ import annotations

import gettext
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from django.test import Client, RequestFactory
from django.utils import translation
from django.utils.translation.template import templatize

import shield_django
from shield_django.server import errors
from tests.admin.conftest import address, form_of, messages_of, text_of

PACKAGE = Path(shield_django.__file__).parent
CATALOGUES = sorted(PACKAGE.glob("locale/*/LC_MESSAGES/django.po"))
GERMAN = {"Accept-Language": "de"}
CART = "/shop/cart/"

#: What marks a text, and which of its arguments is the text, its plural, and its context (``c``).
_MARKS = {
    "_": None,
    "gettext": None,
    "gettext_lazy": None,
    "ngettext": (1, 2),
    "ngettext_lazy": (1, 2),
    "pgettext": ((1, "c"), 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
}
#: A call in what Django makes of a template; everything else in it is blanked out.
_CALL = re.compile(r"""n?p?gettext\((?:[^'"()]|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")*\)""")

Id = tuple[str | None, str | tuple[str, ...]]


def marked() -> Iterator[Id]:
    """Yield context and text (with its plural) of all that the package marks for translation."""
    sources = [path.read_text() for path in PACKAGE.rglob("*.py")]
    templates = [templatize(path.read_text()) for path in PACKAGE.glob("templates/**/*.html")]
    calls = "\n".join(call for text in templates for call in _CALL.findall(text))
    for source in [*sources, calls]:
        for _, text, _, context in extract("python", io.BytesIO(source.encode()), _MARKS):
            yield context, text


def catalogue(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale=path.parent.parent.name, abort_invalid=True)


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parent.parent.name)
class TestTheCatalogue:
    def test_has_a_translation_of_every_marked_text_and_of_nothing_else(self, path):
        entries = [one for one in catalogue(path) if one.id]

        assert {(one.context, one.id) for one in entries} == set(marked())
        assert [one.id for one in entries if one.fuzzy] == []
        strings = [(one.id, one.string if one.pluralizable else (one.string,)) for one in entries]
        assert [text for text, said in strings if not all(said)] == []

    def test_names_the_placeholders_of_the_text_in_every_form(self, path):
        assert [one.id for one, _ in catalogue(path).check()] == []
        for one in filter(lambda one: one.id, catalogue(path)):
            ids, strings = (one.id, one.string) if one.pluralizable else ((one.id,), (one.string,))
            # The singular may name its number in words, in any language.
            assert all(placeholders(said) in map(placeholders, ids) for said in strings), one.id

    def test_is_compiled(self, path):
        compiled = io.BytesIO()
        write_mo(compiled, catalogue(path))
        compiled.seek(0)
        with path.with_suffix(".mo").open("rb") as file:
            shipped = texts(gettext.GNUTranslations(file))
        assert shipped == texts(gettext.GNUTranslations(compiled))


def placeholders(text: str) -> list[str]:
    return sorted(re.findall(r"%\(\w+\)[sd]|%s", text))


def texts(translations: gettext.GNUTranslations) -> dict:
    return {key: said for key, said in vars(translations)["_catalog"].items() if key}


def said_to(response) -> str:
    """Return what a page says, after a look at its language and that no text has a gap left."""
    said = text_of(response)
    assert '<html lang="de"' in response.content.decode()
    assert "%(" not in said
    return said


def test_the_list_of_routes_is_in_the_language_of_who_reads_it(operator, sync):
    sync.set_maintenance(CART, "Inventur", actor="bob", read_only=True)
    sync.enable_global_maintenance("Umzug", actor="eve")

    said = said_to(operator.get(address("route_changelist"), headers=GERMAN))

    for part in (
        "Routen",
        "Alles ist in Wartung „Umzug“",
        "von eve",
        "Wartung nur lesen: nur Schreibzugriffe sind gesperrt Inventur bob",
        "deaktiviert",
        "Auf den Code zurücksetzen",
    ):
        assert part in said


def test_who_was_faster_is_told_in_the_language_of_who_reads_it(operator, sync):
    page = address("route_change", CART)
    form = form_of(operator.get(page, headers=GERMAN))
    sync.disable(CART, "Inventur", actor="bob", platform="cli")

    refused = operator.post(page, form | {"status": "maintenance"}, headers=GERMAN)

    said = said_to(refused)
    assert refused.status_code == 409
    assert "Es wurde nichts gespeichert: Jemand anderes hat dies während der Bearbeitung geändert." in said
    assert "aktiv → deaktiviert (deaktiviert) von bob, Kommandozeile, „Inventur“" in said
    assert f'<a href="{page}">laden, was jetzt da ist</a>' in refused.content.decode()


def test_a_message_after_a_change_is_in_the_language_of_who_made_it(operator, sync):
    page = address("route_change", CART)
    form = form_of(operator.get(page, headers=GERMAN)) | {"status": "maintenance", "reason": "Inventur"}

    saved = operator.post(page, form, follow=True, headers=GERMAN)

    assert messages_of(saved) == [f"{CART} ist jetzt in Wartung, „Inventur“."]


@pytest.mark.parametrize(
    "path, heading",
    [
        ("/maintenance/", "Diese Seite ist vorübergehend nicht erreichbar"),
        ("/disabled/", "Diese Seite wurde deaktiviert"),
    ],
)
def test_a_blocked_visitor_reads_why_in_his_language(store, path, heading):
    blocked = Client().get(path, headers={**GERMAN, "Accept": "text/html"})

    assert blocked.status_code == 503
    assert heading in said_to(blocked)
    assert "Accept-Language" in blocked["Vary"]


def test_a_server_in_a_german_project_answers_programs_in_english():
    with translation.override("de"):
        programs = errors.not_found(RequestFactory().get("/api/nothing"))
    assert b"There is nothing here." in programs.content
