"""What a browser would send of a page's form, were nothing changed in it."""

from __future__ import annotations

from html.parser import HTMLParser

_NOT_SENT = {"submit", "button", "reset", "image"}


class BrowserForm(HTMLParser):
    """Reads the controls of the form that is sent by POST, the log-out form apart."""

    def __init__(self, body: str) -> None:
        super().__init__()
        self.data: dict[str, str] = {}
        self._inside = False
        self._select = self._textarea = ""
        self.feed(body)

    def handle_starttag(self, tag, attributes):
        attrs = dict(attributes)
        if tag == "form":
            self._inside = attrs.get("method") == "post" and attrs.get("id") != "logout-form"
        elif self._inside and tag == "input" and attrs.get("type") not in _NOT_SENT and "name" in attrs:
            if attrs.get("type") not in ("checkbox", "radio") or "checked" in attrs:
                self.data[attrs["name"]] = attrs.get("value") or ("on" if "checked" in attrs else "")
        elif self._inside and tag == "select":
            self._select = attrs["name"]
        elif self._select and tag == "option" and (self._select not in self.data or "selected" in attrs):
            self.data[self._select] = attrs.get("value") or ""
        elif self._inside and tag == "textarea":
            self._textarea = attrs["name"]
            self.data[self._textarea] = ""

    def handle_data(self, data):
        if self._textarea:
            self.data[self._textarea] += data.removeprefix("\n")

    def handle_endtag(self, tag):
        if tag == "form":
            self._inside = False
        elif tag == "select":
            self._select = ""
        elif tag == "textarea":
            self._textarea = ""
