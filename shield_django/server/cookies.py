"""What all cookies of a server have in common."""

from __future__ import annotations

from http.cookies import Morsel

from django.http import HttpRequest
from django.utils.encoding import iri_to_uri


def settle(request: HttpRequest, cookie: Morsel[str]) -> None:
    """Keep a cookie to the server's own paths, and out of reach of scripts and other sites."""
    cookie["path"] = iri_to_uri(f"{request.META.get('SCRIPT_NAME', '').rstrip('/')}/")
    cookie["domain"] = ""
    cookie["secure"] = request.is_secure()
    cookie["httponly"] = True
    cookie["samesite"] = "Lax"
