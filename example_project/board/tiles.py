"""What the first page shows of each route: what this process answers now, and why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from shield_core.decisions import Decision
from shield_core.models import RouteState, RouteStatus
from shield_django import engine

#: Values for the parameters of the shop's routes, so that every tile has a URL to ask.
PARAMETERS = {"sku": "teapot", "pk": "1", "year": "2025", "code": "SPRING", "q": "tea"}
QUERIES = {"/search/": {"q": "tea"}, "GET:/cart/": {"product": "sencha", "quantity": "2"}}
BODIES = {
    "POST:/cart/": {"product": "sencha", "quantity": "1"},
    "POST:/payments/": {"method": "card"},
    "POST:/api/orders/": {"product": "cup", "quantity": "2"},
}

WORDS = {
    "active": "Active",
    "force_active": "Always active",
    "read_only": "Read-only",
    "deprecated": "Deprecated",
    "maintenance": "Maintenance",
    "disabled": "Disabled",
    "env_gated": "Not found here",
}


@dataclass(frozen=True)
class Tile:
    """One route of the shop. ``look`` names both the word and the shape of its status."""

    state: RouteState
    decision: Decision

    @property
    def key(self) -> str:
        return self.state.path

    @property
    def name(self) -> str:
        """Return the key without the shop's own name, which a Shield Server puts before it."""
        return str(self.state.key._replace(service=None))

    @property
    def id(self) -> str:
        return self.name.strip("/").replace(":", "").replace("/", "-").replace("{", "").replace("}", "")

    @property
    def method(self) -> str:
        """The method that a test request uses; a key without one stands for all."""
        return self.state.key.method or "GET"

    @property
    def path(self) -> str:
        return self.state.key.path

    @property
    def url(self) -> str:
        """Return a real URL of the route."""
        query = QUERIES.get(self.name)
        return self.path.format_map(PARAMETERS) + (f"?{urlencode(query)}" if query else "")

    @property
    def body(self) -> str:
        """Return the form that a test request posts, URL-encoded."""
        return urlencode(BODIES.get(self.name, {}))

    @property
    def look(self) -> str:
        if self.decision.cause is not None:
            return str(self.decision.cause)
        if self.state.force_active:
            return "force_active"
        if self.state.effective() is RouteStatus.MAINTENANCE:
            return "read_only"
        return "deprecated" if self.decision.headers else "active"

    @property
    def word(self) -> str:
        return WORDS[self.look]

    @property
    def reason(self) -> str:
        """Say why, in a sentence."""
        if self.look == "env_gated":
            return f"Exists in {' and '.join(self.state.allowed_envs)} only: here it is an unknown URL."
        if self.look == "force_active":
            return "No maintenance stops it: @force_active in the code."
        if self.look == "read_only":
            return f"Reading passes, writing gets a 503. {self.state.reason}"
        if self.look == "deprecated" and (sunset := self.state.sunset_date):
            return f"Goes away on {sunset:%-d %B %Y}; use {self.state.successor_path} instead."
        return self.decision.reason

    @property
    def origin(self) -> str:
        """Say who set the status, where that is not the code."""
        if not self.decision.allowed and self.decision.scope.kind != "route":
            return f"set for {self.decision.scope.label}"
        return f"set by {self.state.updated_by}" if self.state.origin == "operator" else "set in the code"

    @property
    def ends_at(self) -> datetime | None:
        return self.decision.until

    @property
    def starts_at(self) -> datetime | None:
        """Return when a window begins that has not begun yet."""
        window = self.state.window
        return window.start if window is not None and window.start > datetime.now(UTC) else None


def tiles() -> Iterator[Tile]:
    """Yield the shop's routes in the order of their paths, the API's last."""
    rules = engine.ruleset
    states = (state for state in engine.sync.list_states() if is_of_the_shop(state))
    for state in sorted(states, key=_place):
        key = state.key
        yield Tile(state, rules.decide(key.method or "GET", key.path))


def _place(state: RouteState) -> tuple[bool, str, str]:
    return state.key.path.startswith("/api/"), state.key.path, state.key.method or ""


def find(key: str) -> Tile | None:
    return next((tile for tile in tiles() if tile.key == key), None)


def is_of_the_shop(state: RouteState) -> bool:
    """Whether the route belongs neither to this page nor to the admin."""
    return state.key.path != "/" and not state.key.path.startswith(("/board/", "/admin/"))


def pretty(content_type: str, body: str) -> str:
    """Return a body as people read it: JSON indented, the rest as it came."""
    if "json" in content_type:
        try:
            return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
        except ValueError:
            return body
    return body
