"""The decorators of the core, which here serve as dependencies too.

``@maintenance("…")`` above or below ``@router.get`` and ``dependencies=[Depends(maintenance("…"))]``
mean the same: a stamp that the middleware finds on the route.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, overload

from starlette.requests import HTTPConnection

from shield_core import decorators
from shield_core.declarations import Declaration
from shield_core.decorators import deprecated, force_active, meta_of
from shield_core.keys import WEBSOCKET, RouteKey
from shield_core.ruleset import Ruleset
from shield_core.snapshot import Snapshot

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
    __signature__ = signature(target=HTTPConnection)

    def __init__(self, decorator: Callable[[Any], Any]) -> None:
        self._decorator = decorator
        decorator(self)

    @overload
    def __call__(self, target: HTTPConnection) -> None: ...

    @overload
    def __call__(self, target: View) -> View: ...

    def __call__(self, target: Any) -> Any:
        if isinstance(target, HTTPConnection):
            return self._enforce_alone(target)
        return self._decorator(target)

    def _enforce_alone(self, connection: HTTPConnection) -> None:
        """Enforce the stamp where neither middleware nor guard has decided on this request's route."""
        from shield_fastapi.guard import DECIDED, block

        scope = connection.scope
        if DECIDED in scope and scope[DECIDED].key:
            return
        method, path = scope.get("method", WEBSOCKET), scope["path"]
        key = RouteKey(None, None, path)
        declared = {key: Declaration.from_meta(key, meta_of(self))}
        rules = Ruleset.compile(Snapshot(), declared, env=os.environ.get("SHIELD_ENV"))
        decision = rules.decide(method, path)
        if not decision.allowed:
            block(connection, decision)


def _dependable(make: Callable[Parameters, Callable[[Any], Any]]) -> Callable[Parameters, Stamp]:
    @wraps(make)
    def made(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Stamp:
        return Stamp(make(*args, **kwargs))

    return made


maintenance = _dependable(decorators.maintenance)
disabled = _dependable(decorators.disabled)
env_only = _dependable(decorators.env_only)
rate_limit = _dependable(decorators.rate_limit)
