"""Who reaches which endpoint of the control plane: one table, without gaps.

Each view of the API names its ``endpoint``. A test compares this table with the list of URLs, so that a
new endpoint without a rule fails; at runtime one without a rule is refused.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from shield_django.auth.principals import CHANGE, MANAGE_TOKENS, VIEW, Principal


class Sdk(Enum):
    """What a service's token may do with an endpoint."""

    NO = "no"
    YES = "yes"
    #: Only what concerns its own service: the view asks ``may_touch`` for each target.
    OWN = "own"


class Rule(NamedTuple):
    """``permission`` None lets everybody in, logged in or not; "" everybody who is logged in."""

    permission: str | None
    sdk: Sdk = Sdk.NO


_OPEN = Rule(None, Sdk.YES)
_READ = Rule(VIEW, Sdk.OWN)
_OPERATOR_READ = Rule(VIEW)
_OPERATOR = Rule(CHANGE)
_OWN = Rule(CHANGE, Sdk.OWN)
_TOKENS = Rule(MANAGE_TOKENS)
_AUDIT = Rule("shield.view_auditlogentry")

#: By endpoint and method.
RULES: dict[tuple[str, str], Rule] = {
    ("login", "POST"): _OPEN,
    ("logout", "POST"): Rule("", Sdk.YES),
    ("me", "GET"): Rule("", Sdk.YES),
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
    ("audit", "GET"): _AUDIT,
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
    ("rate-limits", "GET"): _READ,
    ("rate-limits", "POST"): _OPERATOR,
    ("rate-limit", "GET"): _READ,
    ("rate-limit", "DELETE"): _OPERATOR,
    ("rate-limit-reset", "DELETE"): _OPERATOR,
    ("rate-limit-hits", "GET"): _OPERATOR_READ,
    **{
        (f"{scope}-rate-limit{action}", method): _OPERATOR if method != "GET" else _READ
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
    ("store-restore", "POST"): _OPERATOR,
    ("store-reset", "POST"): _OPERATOR,
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


def rule_of(endpoint: str, method: str) -> Rule | None:
    return RULES.get((endpoint, "GET" if method == "HEAD" else method))


def may_reach(principal: Principal, rule: Rule) -> bool:
    """Whether somebody who is logged in may use an endpoint at all."""
    if principal.is_sdk:
        return rule.sdk is not Sdk.NO
    return not rule.permission or principal.has_perm(rule.permission)


def may_touch(principal: Principal, service: str | None) -> bool:
    """Whether somebody may read or change what belongs to ``service``."""
    return not principal.is_sdk or (service is not None and principal.service == service)
