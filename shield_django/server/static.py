"""Static files without a collecting step: the server finds them in the installed packages itself."""

from __future__ import annotations

import hashlib
import mimetypes
import os
import posixpath
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import django
from django.conf import settings
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import StaticFilesStorage
from django.core.exceptions import SuspiciousFileOperation
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.urls import get_script_prefix
from django.utils.cache import get_conditional_response, patch_cache_control
from django.views.decorators.http import require_safe

PREFIX = "static/"
_HOUR, _YEAR = 3600, 31_536_000


@lru_cache(maxsize=1)
def release() -> str:
    """Return what changes with the installed versions."""
    versions = f"{django.__version__} {version('shield-django')}"
    return hashlib.sha256(versions.encode()).hexdigest()[:8]


class Storage(StaticFilesStorage):
    """Addresses below the path at which the request's server is mounted, new ones for each release."""

    def url(self, name: str | None, force: bool = False) -> str:
        return f"{get_script_prefix()}{PREFIX}{name}?v={release()}"


def prefixes() -> set[str]:
    """Return where static files are, below the server: its own place, and where a project has them."""
    url = urlsplit(settings.STATIC_URL or "")
    path = url.path.removeprefix(get_script_prefix()).lstrip("/")
    return {PREFIX, path} if path and not url.netloc else {PREFIX}


def foreign_origin() -> str:
    """Return the origin that a project serves its static files from, where it is another one."""
    url = urlsplit(settings.STATIC_URL or "")
    return f"{url.scheme or 'https'}://{url.netloc}" if url.netloc else ""


@require_safe
def serve(request: HttpRequest, name: str) -> HttpResponseBase:
    """Return a file of an installed package, or one that the project has collected."""
    found = _find(posixpath.normpath(name).lstrip("/"))
    if found is None:
        raise Http404
    content, etag, kind = _read(found, found.stat().st_mtime_ns)
    response = HttpResponse(content, content_type=kind, headers={"ETag": etag})
    patch_cache_control(response, public=True, max_age=_YEAR if "v" in request.GET else _HOUR)
    return get_conditional_response(request, etag=etag, response=response) or response


def _find(name: str) -> Path | None:
    try:
        found = finders.find(name)
    except (SuspiciousFileOperation, ValueError):  # outside, or no name that a file can have
        return None
    if not found and settings.STATIC_ROOT:
        root = Path(settings.STATIC_ROOT).resolve()
        collected = (root / name).resolve()
        found = str(collected) if collected.is_relative_to(root) else None
    # os.path: a name that is too long for a file is no error there.
    return Path(str(found)) if found and os.path.isfile(str(found)) else None


@lru_cache(maxsize=512)
def _read(path: Path, changed: int) -> tuple[bytes, str, str]:
    content = path.read_bytes()
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if kind.startswith("text/") or kind.endswith(("javascript", "json", "xml")):
        kind += "; charset=utf-8"
    return content, f'"{hashlib.sha256(content).hexdigest()[:24]}"', kind
