"""Users who come from no database: what the admin asks of ``request.user``, and nothing else."""

from __future__ import annotations

from django.contrib.auth.models import AnonymousUser

HEADER = "X-Test-User"


class Person:
    is_active = is_staff = is_authenticated = True
    is_anonymous = False

    def __init__(self, name: str, permissions: list[str]) -> None:
        self.name = name
        self.permissions = permissions

    def get_username(self) -> str:
        return self.name

    def get_short_name(self) -> str:
        return self.name

    def has_perm(self, permission, obj=None) -> bool:
        return permission.removeprefix("shield.") in self.permissions

    def has_module_perms(self, app_label) -> bool:
        return app_label == "shield"


class Middleware:
    """Takes the user from a header: ``alice=view_route,change_route``."""

    def __init__(self, get_response) -> None:
        self.get_response = get_response

    def __call__(self, request):
        name, _, permissions = request.headers.get(HEADER, "").partition("=")
        request.user = Person(name, permissions.split(",")) if name else AnonymousUser()
        return self.get_response(request)
