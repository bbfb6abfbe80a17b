"""Logging in and out."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import logout
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.response import Response

from shield_core.plan import Authorship
from shield_core.rate_limit.addresses import client_address
from shield_django.api import answers, bodies
from shield_django.api.base import ControlView, operation
from shield_django.api.errors import NotImplementedHere
from shield_django.api.throttle import LoginThrottle
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
        meta = self.request.META
        source = client_address(
            meta.get("REMOTE_ADDR"), meta.get("HTTP_X_FORWARDED_FOR"), control.num_proxies
        )
        throttle = LoginThrottle(self.request._request, control.name, said["username"], source or "")
        throttle.check()
        token = self._token(said["username"], said["password"], said.get("platform", "cli"))
        if token is None:
            if throttle.failed():
                by = Authorship(platform=said.get("platform", "cli"), client_ip=source or "")
                self.sync.note_failed_login(said["username"], **by)
            raise AuthenticationFailed("Invalid credentials")
        return {
            "token": control.tokens.sign(token),
            "username": token.subject,
            "expires_at": token.expires_at.isoformat(),
        }

    def _token(self, username: str, password: str, platform: str) -> Token | None:
        """Return the token of a right password."""
        control, tokens = self.control, self.control.tokens
        if platform != "sdk":
            if not control.authority.check(self.request._request, username, password):
                return None
            fingerprint = control.authority.fingerprint(username)
            return tokens.make(username, platform, fingerprint=fingerprint)
        service = self.said.get("app_id") or self.app_id
        if control.services.check(self.request._request, username, password):
            if service not in (None, username):
                raise PermissionDenied(f"These are the credentials of the service {username!r}.")
            fingerprint = control.services.fingerprint(username)
            return tokens.make(username, "sdk", service=username, fingerprint=fingerprint, by_service=True)
        if not control.authority.check(self.request._request, username, password):
            return None
        user = control.authority.user(username)
        if user is not None and not user.has_perm(CHANGE):
            raise PermissionDenied(f"{username} may not let services in: that needs the permission {CHANGE}.")
        return tokens.make(username, "sdk", service=service)


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
