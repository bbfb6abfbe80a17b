"""Logging in and out."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import logout
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.response import Response

from shield_django.api import answers, bodies
from shield_django.api.base import ControlView, operation
from shield_django.api.errors import NotImplementedHere
from shield_django.api.throttle import guarded
from shield_django.auth.principals import CHANGE
from shield_django.auth.tokens import Token


class Login(ControlView):
    """Get a token for a name and a password."""

    endpoint = "login"

    @operation(answers.LoggedIn, takes=bodies.Login)
    def post(self) -> Any:
        control, said = self.control, self.said
        if control.authority.is_open:
            raise NotImplementedHere("This server is open: it has no users, and needs no login.")
        platform = said.get("platform", "cli")
        token = guarded(
            self.request._request,
            said["username"],
            platform,
            lambda: self._token(said["username"], said["password"], platform),
        )
        if token is None:
            raise AuthenticationFailed("Invalid credentials")
        return {
            "token": control.tokens.sign(token),
            "username": token.subject,
            "expires_at": token.expires_at.isoformat(),
        }

    def _token(self, username: str, password: str, platform: str) -> Token | None:
        """Return the token of a right password."""
        control, tokens = self.control, self.control.tokens
        plain = self.request._request
        if platform != "sdk":
            return control.operator_token(plain, username, password, platform)
        service = self.said.get("app_id") or self.app_id
        if control.services.check(plain, username, password):
            if service not in (None, username):
                raise PermissionDenied(f"These are the credentials of the service {username!r}.")
            fingerprint = control.services.fingerprint(username)
            return tokens.make(username, "sdk", service=username, fingerprint=fingerprint, by_service=True)
        token = control.operator_token(plain, username, password, platform, service)
        user = control.authority.user(token.subject) if token is not None else None
        if user is not None and not user.has_perm(CHANGE):
            raise PermissionDenied(f"{username} may not let services in: that needs the permission {CHANGE}.")
        return token


class Logout(ControlView):
    """Revoke the token, on every node."""

    endpoint = "logout"

    @operation(answers.Ok)
    def post(self) -> Any:
        token = self.principal.token
        if token is not None:
            by = self.by
            by["expected_revision"] = None
            self.sync.revoke_token(token.id, token.record, **by)
        elif self.principal.user is not None:
            logout(self.request._request)
        response = Response({"ok": True})
        if self.control.session_cookie in self.request.COOKIES:
            response.delete_cookie(self.control.session_cookie)
        return response


class Me(ControlView):
    """Who asks."""

    endpoint = "me"

    @operation(answers.Me)
    def get(self) -> Any:
        return {"username": self.principal.username, "platform": self.principal.platform}
