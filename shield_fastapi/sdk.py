"""A FastAPI service that a Shield Server controls."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from shield_core.backends.base import ShieldBackend
from shield_core.backends.memory import MemoryBackend
from shield_core.config import (
    Configuration,
    is_offline,
    limit_options,
    make_server_backend,
    warn_of_forgotten_environment,
)
from shield_core.engine import ShieldEngine
from shield_core.rate_limit.storage.base import RateLimitStorage
from shield_fastapi.answers import Response
from shield_fastapi.middleware import ShieldMiddleware

logger = logging.getLogger("shield")


class ShieldSDK:
    """Follows the Shield Server at ``server_url`` as the service ``app_id``; ``engine`` enforces here.

    The server lets it in by ``token`` (or a function that returns it), ``token_file``, or ``username`` and
    ``password``; where none is given, by what SHIELD_TOKEN, SHIELD_TOKEN_FILE, SHIELD_USERNAME and
    SHIELD_PASSWORD say. ``server_url`` None, or SHIELD_OFFLINE=1, runs on the decorators alone.

    ``reconnect_delay`` is how many seconds pass, on average, before a server that is not there is asked
    again. ``rate_limit_backend`` counts requests together with other replicas of the service: without one,
    each replica counts alone. ``current_env`` is this environment, else SHIELD_ENV. ``snapshot_path`` and
    ``verify`` are those of ``ShieldServerBackend``, ``options`` those of ``ShieldEngine``.
    Raises InvalidInputError, which says what to correct.
    """

    def __init__(
        self,
        server_url: str | None,
        app_id: str,
        *,
        token: str | Callable[[], str] | None = None,
        token_file: str | Path | None = None,
        username: str | None = None,
        password: str | None = None,
        reconnect_delay: float = 5.0,
        rate_limit_backend: RateLimitStorage | ShieldBackend | None = None,
        current_env: str | None = None,
        snapshot_path: str | Path | None = None,
        verify: Any = True,
        **options: Any,
    ) -> None:
        self.app_id = app_id
        found = Configuration.read()
        env = current_env or found.get("SHIELD_ENV")
        if env is None:
            warn_of_forgotten_environment()
        self.is_offline = server_url is None or is_offline(found)
        backend: ShieldBackend = MemoryBackend()
        if self.is_offline:
            logger.info("No Shield Server: the service %s runs on its decorators alone.", app_id)
        else:
            backend = make_server_backend(
                server_url,
                app_id,
                found=found,
                token=token,
                token_file=token_file,
                username=username,
                password=password,
                reconnect_delay=reconnect_delay,
                snapshot_path=snapshot_path,
                verify=verify,
            )
        if rate_limit_backend is not None:
            options["rate_limit_backend"] = rate_limit_backend
        self.engine = ShieldEngine(backend, env, service=app_id, **{**limit_options(found), **options})

    def attach(
        self,
        app: Starlette,
        *,
        responses: Mapping[str, Response] | None = None,
        exempt: Iterable[str] = (),
    ) -> None:
        """Let ``app`` enforce what the server says, from its start to its end.

        ``responses`` and ``exempt`` are those of ``ShieldMiddleware``.
        """
        app.add_middleware(ShieldMiddleware, engine=self.engine, responses=responses, exempt=exempt)
