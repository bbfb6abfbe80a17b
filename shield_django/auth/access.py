"""Who reaches which endpoint of the control plane: one table, without gaps.

Each view of the API names its ``endpoint``. A test compares this table with the list of URLs, so that a
new endpoint without a rule fails; at runtime one without a rule is refused.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

from shield_core.keys import Facet, parse_store_key
from shield_django.auth.principals import (
    CHANGE,
    CHANGE_LIMITS,
    MANAGE_TOKENS,
    VIEW,
    VIEW_AUDIT,
    VIEW_LIMITS,
    Principal,
)


class Sdk(Enum):
    """What a service's token may do with an endpoint."""

    NO = "no"
    YES = "yes"
    #: Only what concerns its own service: the view asks ``may_touch`` for each target.
    OWN = "own"


class Rule(NamedTuple):
    """``permissions`` None lets everybody in, logged in or not; an empty one everybody who is logged in."""

    permissions: tuple[str, ...] | None
    sdk: Sdk = Sdk.NO


_OPEN = Rule(None, Sdk.YES)
_KNOWN = Rule((), Sdk.YES)
_READ = Rule((VIEW,), Sdk.OWN)
_OPERATOR_READ = Rule((VIEW,))
_OPERATOR = Rule((CHANGE,))
_OWN = Rule((CHANGE,), Sdk.OWN)
_READ_LIMITS = Rule((VIEW_LIMITS,), Sdk.OWN)
_LIMITS = Rule((CHANGE_LIMITS,))
_STORE = Rule((CHANGE, CHANGE_LIMITS))
_TOKENS = Rule((MANAGE_TOKENS,))

#: By endpoint and method.
RULES: dict[tuple[str, str], Rule] = {
    ("login", "POST"): _OPEN,
    ("logout", "POST"): _KNOWN,
    ("me", "GET"): _KNOWN,
    ("schema", "GET"): _OPEN,
    ("routes", "GET"): _READ,
    ("routes-bulk", "POST"): _OWN,
    ("route", "GET"): _READ,
    ("route-enable", "POST"): _OWN,
    ("route-disable", "POST"): _OWN,
    ("route-maintenance", "POST"): _OWN,
    ("route-env", "POST"): _OWN,
    ("route-schedule", "POST"): _OWN,
    ("route-schedule", "DELETE"): _OWN,
    ("route-override", "DELETE"): _OWN,
    ("audit", "GET"): Rule((VIEW_AUDIT,)),
    ("global", "GET"): _READ,
    ("global-enable", "POST"): _OPERATOR,
    ("global-disable", "POST"): _OPERATOR,
    ("global-exempt", "POST"): _OPERATOR,
    ("global-exempt", "PUT"): _OPERATOR,
    ("global-exempt", "DELETE"): _OPERATOR,
    ("global-schedule", "DELETE"): _OPERATOR,
    ("services", "GET"): _OPERATOR_READ,
    ("service-maintenance", "GET"): _READ,
    ("service-maintenance-enable", "POST"): _OPERATOR,
    ("service-maintenance-disable", "POST"): _OPERATOR,
    ("service-maintenance-exempt", "POST"): _OPERATOR,
    ("service-maintenance-exempt", "PUT"): _OPERATOR,
    ("service-maintenance-exempt", "DELETE"): _OPERATOR,
    ("service-maintenance-schedule", "DELETE"): _OPERATOR,
    ("rate-limits", "GET"): _READ_LIMITS,
    ("rate-limits", "POST"): _LIMITS,
    ("rate-limit", "GET"): _READ_LIMITS,
    ("rate-limit", "DELETE"): _LIMITS,
    ("rate-limit-reset", "DELETE"): _LIMITS,
    ("rate-limit-hits", "GET"): Rule((VIEW_LIMITS,)),
    **{
        (f"{scope}-rate-limit{action}", method): _LIMITS if method != "GET" else _READ_LIMITS
        for scope in ("global", "service")
        for action, method in (
            ("", "GET"),
            ("", "POST"),
            ("", "DELETE"),
            ("-reset", "DELETE"),
            ("-enable", "POST"),
            ("-disable", "POST"),
        )
    },
    ("store-restore", "POST"): _STORE,
    ("store-reset", "POST"): _STORE,
    ("tokens", "GET"): _TOKENS,
    ("tokens", "POST"): _TOKENS,
    ("token", "DELETE"): _TOKENS,
    ("sdk-events", "GET"): _READ,
    ("sdk-register", "POST"): _OWN,
    ("sdk-commit", "POST"): _OWN,
    ("sdk-hits", "POST"): _OWN,
    ("sdk-audit", "POST"): _OWN,
    ("sdk-snapshot", "GET"): _READ,
    ("sdk-ack", "POST"): _OWN,
}


#: The endpoint at which each kind of stored object is changed, by what it is and how far it reaches.
_ADDRESSES: dict[tuple[Facet, str], str] = {
    (Facet.STATE, "route"): "route-disable",
    (Facet.STATE, "global"): "global-enable",
    (Facet.STATE, "service"): "service-maintenance-enable",
    (Facet.STATE, "store"): "store-reset",
    (Facet.TOKEN, "token"): "tokens",
    **{
        (facet, kind): endpoint
        for facet in (Facet.LIMIT, Facet.RESET)
        for kind, endpoint in (
            ("route", "rate-limits"),
            ("service", "service-rate-limit"),
            ("global", "global-rate-limit"),
        )
    },
}


def rule_of(endpoint: str, method: str) -> Rule | None:
    return RULES.get((endpoint, "GET" if method == "HEAD" else method))


def rule_of_write(key: str) -> Rule | None:
    """Return who may write what is stored under ``key``: whoever may do it at an address of its own."""
    facet, scope = parse_store_key(key)
    return rule_of(_ADDRESSES[facet, scope.kind], "POST")


def may_reach(principal: Principal, rule: Rule) -> bool:
    """Whether somebody who is logged in may use an endpoint at all."""
    if principal.is_sdk:
        return rule.sdk is not Sdk.NO
    return all(is_permitted(principal, one) for one in rule.permissions or ())


def is_permitted(user: Any, permission: str) -> bool:
    """Whether an operator has a permission; who may change something may look at it, as in the admin.

    ``user`` is anything with ``has_perm``.
    """
    change = permission.replace(".view_", ".change_")
    return bool(user.has_perm(permission) or (change != permission and user.has_perm(change)))


def may_touch(principal: Principal, service: str | None) -> bool:
    """Whether somebody may read or change what belongs to ``service``."""
    return not principal.is_sdk or (service is not None and principal.service == service)
