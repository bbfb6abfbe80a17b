"""Saving a form: the change, or the page again with why it was refused and what others did meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from django.contrib import messages
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _

from shield_core.exceptions import ConflictError, NotAllowedError, ShieldException
from shield_core.keys import Scope
from shield_core.plan import Authorship
from shield_django.admin.base import EngineAdmin
from shield_django.admin.wording import Line, is_of_limit

_LINES = 20


class _Revised(Protocol):
    @property
    def revision(self) -> int: ...


Shown = TypeVar("Shown", bound=_Revised)


@dataclass(frozen=True, kw_only=True)
class Editor(Generic[Shown]):
    """One object and its page.

    ``look`` returns the object as it is now, None where there is none; ``form(data, shown)`` asks,
    ``page(shown, form, **context)`` shows. ``change(form, by)`` returns what was done, "" for nothing.
    ``of_limit``: it is the scope's rate limit.
    """

    scope: Scope
    look: Callable[[], Shown | None]
    form: Callable[[Any, Shown], Any]
    page: Callable[..., HttpResponse]
    change: Callable[[Any, Authorship], str]
    of_limit: bool = False


class SavingPages(EngineAdmin):
    """Pages whose form changes one object, unless somebody else has changed it since it was shown."""

    def edit(self, request: HttpRequest, editor: Editor[Any]) -> HttpResponse:
        """Show the form of an object, and save it."""
        shown = editor.look()
        if shown is None:
            return self.not_found(request, editor.scope.name)
        if request.method != "POST":
            return editor.page(shown, editor.form(None, shown))
        form = editor.form(request.POST, shown)
        if not form.is_valid():
            return editor.page(shown, form)
        return self.save(request, editor, shown, form)

    def save(self, request: HttpRequest, editor: Editor[Shown], shown: Shown, form: Form) -> HttpResponse:
        """Make a change and tell of it, or return the page again with why it was refused."""
        asked = form.cleaned_data
        try:
            said = editor.change(form, self.authorship(request, asked["note"], asked["revision"]))
        except ConflictError as error:
            now = editor.look()
            if now is None:
                return self.not_found(request, editor.scope.name)
            meanwhile = self._changes_since(request, editor, error.expected)
            _take_over(form, now.revision)
            return editor.page(now, form, conflict=True, meanwhile=meanwhile, status=409)
        except ShieldException as error:
            form.add_error(None, str(error))
            return editor.page(shown, form)
        if said:
            self.message_user(request, said, messages.SUCCESS)
        else:
            self.message_user(request, _("Nothing was changed."))
        if "_continue" in request.POST:
            return HttpResponseRedirect(request.get_full_path())
        return self.back_to_list(request)

    def _changes_since(self, request: HttpRequest, editor: Editor[Any], revision: int) -> list[Line] | None:
        """Return the changes after ``revision``, the newest first; none when a release changed the code.

        Rate limits are objects of their own, which no form of a status overwrites. None where the audit log
        is on a Shield Server that does not show it to this service.
        """
        try:
            entries = self.sync(request).get_audit_log(editor.scope.store_key, limit=_LINES)
        except NotAllowedError:
            return None
        return [
            Line.of(entry)
            for entry in entries
            if entry.revision > revision and is_of_limit(entry.action) is editor.of_limit
        ]


def _take_over(form: Form, revision: int) -> None:
    """Let the form, with what was entered, be sent again by somebody who has seen ``revision``."""
    form.data = {**form.data.dict(), form.add_prefix("revision"): str(revision)}  # type: ignore[attr-defined]
