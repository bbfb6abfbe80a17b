"""The decorators of the core, which here serve as dependencies too.

``@maintenance("…")`` above or below ``@router.get`` and ``dependencies=[Depends(maintenance("…"))]``
mean the same: a stamp that the middleware finds on the route.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable, Callable
from functools import cached_property, lru_cache, wraps
from typing import Any, ParamSpec, TypeVar, overload

from starlette.requests import HTTPConnection
from starlette.responses import Response

from shield_core import decorators
from shield_core.decisions import Decision
from shield_core.declarations import Declaration
from shield_core.decorators import deprecated, force_active, meta_of
from shield_core.keys import WEBSOCKET, RouteKey
from shield_core.rate_limit.limiter import Limiter
from shield_core.rate_limit.storage.memory import MemoryRateLimitStorage
from shield_core.responses import limited
from shield_core.ruleset import Ruleset
from shield_core.snapshot import Snapshot
from shield_fastapi.limits import WAITING, charge
from shield_fastapi.sources import Scope

__all__ = ["Stamp", "deprecated", "disabled", "env_only", "force_active", "maintenance", "rate_limit"]

Parameters = ParamSpec("Parameters")
View = TypeVar("View", bound=Callable[..., Any])


def signature(**annotations: type) -> inspect.Signature:
    """Return the signature of a dependency that is an object; older FastAPI reads no names of types there."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind, annotation=one) for name, one in annotations.items()]
    return inspect.Signature(parameters)


class Stamp:
    """A decorator for views that is a dependency for ``Depends`` as well."""

    #: What FastAPI sees of it as a dependency: it wants the connection, and no query parameter.
    __signature__ = signature(target=HTTPConnection, response=Response)

    def __init__(self, decorator: Callable[[Any], Any]) -> None:
        self._decorator = decorator
        decorator(self)
        # FastAPI looks here whether the dependency is to be awaited; else it would take a thread.
        self.__dict__["__call__"] = self._enforce

    @overload
    def __call__(self, target: HTTPConnection, response: Response) -> Awaitable[None]: ...

    @overload
    def __call__(self, target: View) -> View: ...

    def __call__(self, target: Any, response: Response | None = None) -> Any:
        if isinstance(target, HTTPConnection):
            return self._enforce(target, response)
        return self._decorator(target)

    async def _enforce(self, target: HTTPConnection, response: Response | None) -> None:
        """Take what is left for this dependency; enforce it alone where nobody else has decided."""
        from shield_fastapi.guard import DECIDED, add_headers, block

        scope = target.scope
        if waiting := scope.get(WAITING):
            decisions = [await taking.rest() for taking in waiting]
        elif DECIDED in scope and scope[DECIDED].key:
            return
        else:
            decisions = [await self._decide_alone(scope)]
        for decision in decisions:
            if not decision.allowed:
                block(target, decision)
            add_headers(response, decision)

    async def _decide_alone(self, scope: Scope) -> Decision:
        method, template = scope.get("method", WEBSOCKET), _template(scope)
        rules = _rules_of(self, method, template, os.environ.get("SHIELD_ENV"))
        decision = rules.decide(method, template)
        if decision.allowed and (layers := rules.limits(method, template)):
            decision = limited(decision, await charge(self._limiter, layers, scope, template))
        return decision

    @cached_property
    def _limiter(self) -> Limiter:
        """What counts where nobody else does, in this process."""
        return Limiter(MemoryRateLimitStorage())


@lru_cache(maxsize=1024)
def _rules_of(stamp: Stamp, method: str, template: str, env: str | None) -> Ruleset:
    key = RouteKey(None, method, template)
    return Ruleset.compile(Snapshot(), {key: Declaration.from_meta(key, meta_of(stamp))}, env=env)


def _template(scope: Scope) -> str:
    """Return the template of the route that runs; what has none, as files, is counted as one."""
    context = scope.get("fastapi", {}).get("effective_route_context")
    route = scope.get("route") if context is None else context.starlette_route or context
    return str(getattr(route, "path_format", None) or "/{path}")


def _dependable(make: Callable[Parameters, Callable[[Any], Any]]) -> Callable[Parameters, Stamp]:
    @wraps(make)
    def made(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Stamp:
        return Stamp(make(*args, **kwargs))

    return made


maintenance = _dependable(decorators.maintenance)
disabled = _dependable(decorators.disabled)
env_only = _dependable(decorators.env_only)
rate_limit = _dependable(decorators.rate_limit)
