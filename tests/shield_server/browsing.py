"""A person with a browser, as far as cookies, forms and redirects make one."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import httpx2

from tests.admin.browser_form import BrowserForm


class Person:
    """Sends forms as their pages have them; ``origin`` is what the address bar shows."""

    def __init__(self, address: str, path: str = "", **options: Any) -> None:
        self.client = httpx2.Client(base_url=address, timeout=30, **options)
        self.origin = re.match("https?://[^/]+", address)[0]
        self.path = path

    def get(self, path: str, **options: Any) -> Any:
        return self.client.get(self.path + path, **options)

    def post(self, path: str, data: dict[str, str], **headers: str) -> Any:
        told = {
            "Origin": self.origin,
            "Sec-Fetch-Site": "same-origin",
            "Referer": f"{self.origin}/",
            **headers,
        }
        told = {name: value for name, value in told.items() if value}
        return self.client.post(self.path + path, data=data, headers=told)

    def fill(self, path: str, **entries: str) -> Any:
        """Load a page and send its form with ``entries``."""
        return self.post(path, {**BrowserForm(self.get(path).text).data, **entries})

    def log_in(self, password: str = "secret", username: str = "olga") -> Any:
        return self.fill("/login", username=username, password=password)

    def log_out(self) -> Any:
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.get("/").text)[1]
        return self.post("/logout", {"csrfmiddlewaretoken": token})

    @property
    def is_in(self) -> bool:
        answer = self.get("/")
        assert answer.status_code in (200, 302), answer.text
        return answer.status_code == 200

    def reads(self, path: str) -> str:
        """Return a page's words."""
        answer = self.get(path)
        assert answer.status_code == 200, answer
        body = re.sub(r"<(script|style|svg|head)\b.*?</\1>", " ", answer.text, flags=re.S)
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())

    def close(self) -> None:
        self.client.close()
