"""What a DRF view will know of its caller, before it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest

from shield_django.modes import settled

#: What DRF's request notes on Django's when it authenticates.
_NOTED = ("user", "auth")


def is_one(view: Any) -> bool:
    return hasattr(getattr(view, "cls", None), "initialize_request")


def throttles_itself(view: Any) -> bool:
    """Whether a ``ShieldThrottle`` of the view takes Shield's own limits."""
    if (view_class := getattr(view, "cls", None)) is None:
        return False
    given = getattr(view, "initkwargs", {}).get("throttle_classes")
    classes = given if given is not None else getattr(view_class, "throttle_classes", ())
    for one in classes:
        if (takes := getattr(one, "takes_limits_of_routes", None)) is not None and takes():
            return True
    return False


def user_of(request: HttpRequest, view: Any) -> object | None:
    """Return the user as whom the view will authenticate its caller; a refused one is None."""
    found: object | None = call(lambda api_request: api_request.user, request, view)
    return found


def call(function: Callable[..., Any], request: HttpRequest, view: Any) -> Any:
    """Call ``function`` with DRF's request; where that refuses the caller, the answer is None."""
    from rest_framework.exceptions import APIException

    with _borrowed(request, view) as api_request:
        try:
            return settled(function(api_request))
        except (APIException, PermissionDenied, Http404):
            return None  # the view will say so, in its own words


@contextmanager
def _borrowed(request: HttpRequest, view: Any) -> Iterator[Any]:
    """Yield a DRF request as the view makes it, and leave Django's as it was for the view's own."""
    noted = request.__dict__
    before = {name: noted[name] for name in _NOTED if name in noted}
    try:
        yield _request_of(request, view)
    finally:
        for name in _NOTED:
            noted.pop(name, None)
        noted.update(before)


def _request_of(request: HttpRequest, view: Any) -> Any:
    match = request.resolver_match
    args, kwargs = (match.args, match.kwargs) if match is not None else ((), {})
    instance = view.cls(**view.initkwargs)
    instance.request, instance.args, instance.kwargs = request, args, kwargs
    actions = dict(getattr(view, "actions", None) or {})
    if actions:
        if "get" in actions:
            actions.setdefault("head", actions["get"])
        instance.action_map = actions
        for method, action in actions.items():
            setattr(instance, method, getattr(instance, action))
    return instance.initialize_request(request, *args, **kwargs)
