"""Plan mutations: pure functions from a snapshot and a command to a commit.

Key resolution, protection, validation, previous and new status live here and nowhere else. A
command's ``plan`` does no I/O and may be repeated on a newer snapshot after a conflict.
"""

from shield_core.plan.bookkeeping import CrossBoundary, Register, crossed_boundary
from shield_core.plan.bulk import ROUTE_ACTIONS, ChangeRoutes, RouteAction
from shield_core.plan.commands import Authorship, Command
from shield_core.plan.limits import (
    DeleteLimit,
    LimitCommand,
    ResetLimit,
    SetLimit,
    Stays,
    SwitchLimit,
    given,
    hit_key,
    limit_in_force,
    limit_of_code,
)
from shield_core.plan.notes import Note
from shield_core.plan.proposals import Proposal, Propose
from shield_core.plan.resolution import resolve
from shield_core.plan.routes import (
    CancelSchedule,
    ClearOverride,
    Disable,
    Enable,
    RouteCommand,
    Schedule,
    SetEnvironments,
    SetMaintenance,
    SetRoute,
    in_force,
)
from shield_core.plan.scopes import (
    CancelScopeSchedule,
    DisableScopeMaintenance,
    EnableScopeMaintenance,
    ExemptPath,
    ScopeCommand,
    SetExemptPaths,
    SetScopeMaintenance,
)
from shield_core.plan.tokens import BindToken, IssueToken, RevokeToken

__all__ = [
    "ROUTE_ACTIONS",
    "Authorship",
    "BindToken",
    "CancelSchedule",
    "CancelScopeSchedule",
    "ChangeRoutes",
    "ClearOverride",
    "Command",
    "CrossBoundary",
    "DeleteLimit",
    "Disable",
    "DisableScopeMaintenance",
    "Enable",
    "EnableScopeMaintenance",
    "ExemptPath",
    "IssueToken",
    "LimitCommand",
    "Note",
    "Proposal",
    "Propose",
    "Register",
    "ResetLimit",
    "RevokeToken",
    "RouteAction",
    "RouteCommand",
    "Schedule",
    "ScopeCommand",
    "SetEnvironments",
    "SetExemptPaths",
    "SetLimit",
    "SetMaintenance",
    "SetRoute",
    "SetScopeMaintenance",
    "Stays",
    "SwitchLimit",
    "crossed_boundary",
    "given",
    "hit_key",
    "in_force",
    "limit_in_force",
    "limit_of_code",
    "resolve",
]
