"""A browser as far as the admin's forms need one: cookies, redirects, forms as they stand on the page."""

from __future__ import annotations

from html.parser import HTMLParser
from http.cookiejar import CookieJar
from typing import Any
from urllib.parse import urlencode, urljoin
from urllib.request import HTTPCookieProcessor, Request, build_opener


class Browser:
    def __init__(self, base: str) -> None:
        self._opener = build_opener(HTTPCookieProcessor(CookieJar()))
        self.url = base
        self.text = ""

    def open(self, path: str, data: list[tuple[str, str]] | None = None) -> str:
        body = urlencode(data).encode() if data is not None else None
        request = Request(urljoin(self.url, path), body, {"Referer": self.url, "Accept": "text/html"})
        with self._opener.open(request, timeout=30) as answer:
            self.url, self.text = answer.url, answer.read().decode()
        return self.text

    def submit(self, form_id: str, **entered: str) -> str:
        """Send the form with this id (or the only one), its fields as they are but for ``entered``."""
        forms = _Forms(self.text).forms
        form = next((one for one in forms if one["id"] == form_id), None)
        assert form is not None, f"there is no form {form_id!r} but {[one['id'] for one in forms]}"
        kept = [(name, value) for name, value in form["fields"] if name not in entered]
        return self.open(form["action"] or self.url, [*kept, *entered.items()])


class _Forms(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[dict[str, Any]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "form":
            self.forms.append({"id": found.get("id"), "action": found.get("action"), "fields": []})
        elif self.forms and (name := found.get("name")):
            hidden = tag == "input" and found.get("type") == "hidden"
            chosen = found.get("type") in ("radio", "checkbox") and "checked" in found
            if hidden or chosen:
                self.forms[-1]["fields"].append((name, found.get("value") or ""))
