"""The store as a whole, after it was lost."""

from __future__ import annotations

from typing import Any

from shield_django.api import answers, bodies
from shield_django.api.base import ControlView, operation


class Restore(ControlView):
    """Let a running process put its rules back into a store that was emptied; waits until one has."""

    endpoint = "store-restore"

    @operation(answers.Ok, takes=bodies.Restoration)
    def post(self) -> Any:
        self.sync.restore(self.reason, self.said.get("timeout", 10), **self.by)
        return {"ok": True}


class Reset(ControlView):
    """Lift every override, all maintenance and all limits, and accept the store as it is then."""

    endpoint = "store-reset"

    @operation(answers.Ok, takes=bodies.Change)
    def post(self) -> Any:
        self.sync.reset_all(self.reason, **self.by)
        return {"ok": True}
