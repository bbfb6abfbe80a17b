"""Who is asking the control plane, and what that may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from shield_django.auth.tokens import Token

#: What an operator needs, beside being let in at all.
VIEW, CHANGE, MANAGE_TOKENS = "shield.view_route", "shield.change_route", "shield.manage_tokens"
VIEW_LIMITS, CHANGE_LIMITS = "shield.view_ratelimit", "shield.change_ratelimit"
VIEW_AUDIT = "shield.view_auditlogentry"
#: The platform of browsers.
DASHBOARD = "dashboard"


@dataclass(frozen=True, slots=True)
class Principal:
    """An operator or a service; ``user`` of a request to the API, and on the server's own admin pages.

    ``user`` is the project's own user, whose permissions count; an operator without one may do
    everything, a service only what ``auth.access`` lets it.
    """

    username: str
    platform: str
    token: Token | None = None
    user: Any = None

    is_authenticated = True
    is_anonymous = False
    is_active = True

    @property
    def service(self) -> str | None:
        """The service that a service's token is bound to."""
        return self.token.service if self.token is not None and self.is_sdk else None

    @property
    def is_sdk(self) -> bool:
        return self.platform == "sdk"

    @property
    def is_staff(self) -> bool:
        return not self.is_sdk and (self.user is None or bool(self.user.is_staff))

    @property
    def pk(self) -> str:
        return self.username

    def get_username(self) -> str:
        return self.username

    def __str__(self) -> str:
        return self.username

    def has_perm(self, permission: str, obj: object = None) -> bool:
        if self.is_sdk:
            return False
        return self.user is None or bool(self.user.has_perm(permission, obj))

    def has_perms(self, permissions: list[str], obj: object = None) -> bool:
        return all(self.has_perm(one, obj) for one in permissions)

    def has_module_perms(self, app_label: str) -> bool:
        return not self.is_sdk and (self.user is None or bool(self.user.has_module_perms(app_label)))


def principal_in(request: HttpRequest) -> Principal | None:
    """Return who is asking, where that is an operator or a service of a control plane."""
    user: Any = getattr(request, "user", None)
    return user if isinstance(user, Principal) else None


class Nobody:
    """Somebody who is not logged in, as the pages ask of ``request.user``."""

    is_authenticated = is_active = is_staff = False
    is_anonymous = True
    username = ""
    pk = None

    def get_username(self) -> str:
        return ""

    def has_perm(self, permission: str, obj: object = None) -> bool:
        return False

    def has_perms(self, permissions: list[str], obj: object = None) -> bool:
        return False

    def has_module_perms(self, app_label: str) -> bool:
        return False


#: Who operates a server without logins.
ANYBODY = "anonymous"
