"""Which route a person means."""

from __future__ import annotations

import difflib

from shield_core.exceptions import (
    AmbiguousRouteError,
    RouteNotFoundException,
)
from shield_core.keys import RouteKey, is_route_key
from shield_core.snapshot import Snapshot

#: How many names an error offers.
_CLOSEST = 3


def resolve(snapshot: Snapshot, target: str, service: str | None = None) -> str:
    """Return the store key that ``target`` (a key or a bare path) stands for.

    An exact key wins; then the one key that the bare path may stand for, in ``service``, else in
    any. A method key under a registered bare path is a key too. Raises RouteNotFoundException
    with the closest keys, or AmbiguousRouteError with the candidates.
    """
    if not is_route_key(target):
        raise RouteNotFoundException(target)
    key = RouteKey.parse(target, service=service)
    for path in (key.path, _other_slash(key.path)):
        exact = key._replace(path=path)
        if snapshot.route(str(exact)) is not None:
            return str(exact)
        found = [
            candidate
            for candidate in snapshot.keys_by_path.get(path, ())
            if _may_mean(key, RouteKey.parse(candidate))
        ]
        found = [one for one in found if RouteKey.parse(one).method == key.method] or found
        if len(found) > 1:
            raise AmbiguousRouteError(target, sorted(found))
        if found:
            method = key.method if key.method else RouteKey.parse(found[0]).method
            return str(RouteKey.parse(found[0])._replace(method=method))
    raise RouteNotFoundException(target, _closest(snapshot, target, key))


def is_known(snapshot: Snapshot, key: RouteKey) -> bool:
    """Return whether a route is registered that ``key``, or a bare path that it is, stands for."""
    candidates = map(RouteKey.parse, snapshot.keys_by_path.get(key.path, ()))
    return any(one.service == key.service and _may_mean(key, one) for one in candidates)


def resolve_all(snapshot: Snapshot, target: str, service: str | None = None) -> list[str]:
    """Return every key that the path of ``target`` has, whatever its method, in one service.

    Raises RouteNotFoundException, or AmbiguousRouteError where several services have the path.
    """
    bare = RouteKey.parse(target, service=service)._replace(method=None)
    for path in (bare.path, _other_slash(bare.path)):
        keys = snapshot.keys_by_path.get(path, ())
        found: dict[str | None, list[str]] = {}
        for key in keys:
            found.setdefault(RouteKey.parse(key).service, []).append(key)
        if bare.service in found:
            return sorted(found[bare.service])
        if bare.service is None and len(found) > 1:
            raise AmbiguousRouteError(target, sorted(keys))
        if bare.service is None and found:
            return sorted(next(iter(found.values())))
    return [resolve(snapshot, str(bare))]  # which says what is like it


def _closest(snapshot: Snapshot, target: str, asked: RouteKey) -> list[str]:
    """Return the keys that are written most like ``target``, else those whose paths are."""
    if found := difflib.get_close_matches(target, snapshot.routes, n=_CLOSEST):
        return found
    paths = difflib.get_close_matches(asked.path, snapshot.keys_by_path, n=_CLOSEST)
    keys = [key for path in paths for key in snapshot.keys_by_path[path]]
    of_service = [key for key in keys if RouteKey.parse(key).service == asked.service]
    return (of_service or keys)[:_CLOSEST]


def _may_mean(asked: RouteKey, candidate: RouteKey) -> bool:
    if asked.service is not None and candidate.service != asked.service:
        return False
    return asked.method is None or candidate.method in (None, asked.method)


def _other_slash(path: str) -> str:
    return path[:-1] if path.endswith("/") and path != "/" else path + "/"
