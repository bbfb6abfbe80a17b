"""What is known of a scope's rate limit, and the steps that can be taken with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from shield_core.keys import Scope
from shield_core.models import RateLimitPolicy, StoredPolicy
from shield_core.plan import Authorship
from shield_core.sync import SyncEngine
from shield_django.admin.display import is_operators, is_paused
from shield_django.admin.limit_forms import LimitForm, RouteLimitForm, WideLimitForm


@dataclass(frozen=True)
class Step:
    """One change that asks for nothing but a reason."""

    title: str | Promise
    button: str | Promise
    take: Callable[[SyncEngine, Scope, str, Authorship], object]


def _delete(sync: SyncEngine, scope: Scope, reason: str, by: Authorship) -> None:
    sync.delete_limit(scope, reason, **by)


def _reset(sync: SyncEngine, scope: Scope, reason: str, by: Authorship) -> None:
    # The revision that the person saw is the limit's, not that of its counters.
    by["expected_revision"] = None
    sync.reset_limit(scope, reason, **by)


STEPS = {
    "pause": Step(
        _("Pause the rate limit of %(scope)s"),
        _("Pause"),
        lambda sync, scope, reason, by: sync.switch_limit(scope, False, reason, **by),
    ),
    "resume": Step(
        _("Resume the rate limit of %(scope)s"),
        _("Resume"),
        lambda sync, scope, reason, by: sync.switch_limit(scope, True, reason, **by),
    ),
    "reset": Step(_("Reset the counters of %(scope)s"), _("Reset counters"), _reset),
    "delete": Step(_("Remove the rate limit of %(scope)s"), _("Remove"), _delete),
}
_BACK_TO_THE_CODE = Step(
    _("Return the rate limit of %(scope)s to the code"), _("Return to the code"), _delete
)


@dataclass(frozen=True)
class KnownLimit:
    """The limit in force at a scope; ``code`` is what the code says of a route."""

    scope: Scope
    policy: StoredPolicy | None
    code: RateLimitPolicy | None = None

    @property
    def is_here(self) -> bool:
        """Whether the limit is that of this very scope, and not of a route's bare path."""
        if not isinstance(self.policy, RateLimitPolicy):
            return self.policy is not None
        return str(self.policy.key) == self.scope.name

    @property
    def is_own(self) -> bool:
        """Whether an operator has set a limit of this very scope."""
        return self.policy is not None and self.is_here and is_operators(self.policy)

    @property
    def revision(self) -> int:
        return self.policy.revision if self.policy is not None and self.is_own else 0

    @property
    def steps(self) -> list[str]:
        """The names of the steps that can be taken."""
        found = []
        if self.is_own and self.scope.kind != "route":
            found.append("resume" if is_paused(self.policy) else "pause")
        if self.is_here:
            found.append("reset")
        if self.is_own:
            found.append("delete")
        return found

    def step(self, name: str) -> Step:
        return _BACK_TO_THE_CODE if name == "delete" and self.code is not None else STEPS[name]

    def form(self, data: Any = None) -> LimitForm:
        form = RouteLimitForm if self.scope.kind == "route" else WideLimitForm
        return form(data, policy=self.policy, code=self.code, initial={"revision": self.revision})
