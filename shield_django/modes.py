"""Functions of the project's, sync or async, called in either mode."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async


async def called(function: Callable[..., Any], request: Any, *, awaits: bool) -> Any:
    """Call a function where it may block: in a thread, if it is a plain one in async mode."""
    if not awaits:
        return settled(function(request))
    if iscoroutinefunction(function):
        return await function(request)
    said = await sync_to_async(lambda: function(request))()  # which may be an object that is async
    return await said if isinstance(said, Awaitable) else said


def settled(said: Any) -> Any:
    """Return in sync mode what was said, also where an ``async def`` will say it."""
    if not isinstance(said, Awaitable):
        return said

    async def wait() -> Any:
        return await said

    return async_to_sync(wait)()
