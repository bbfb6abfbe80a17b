"""Calls that may hang, made so that they hold nobody up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar

from shield_core.exceptions import BackendError
from shield_core.rate_limit.counters import Counter, Verdict
from shield_core.rate_limit.storage.base import RateLimitStorage

#: Seconds that a request waits at most.
TIMEOUT = 0.05

Result = TypeVar("Result")


def soon(function: Callable[..., Result], *args: Any, timeout: float = TIMEOUT) -> Result:
    """Call ``function`` in a thread; raise BackendError when it does not return in ``timeout`` seconds.

    What is late goes on in its thread.
    """
    call, over = _Call(function, args), threading.Event()
    call.start(over.set)
    over.wait(timeout)
    return call.result()


async def soon_async(function: Callable[..., Result], *args: Any, timeout: float = TIMEOUT) -> Result:
    """Do what ``soon`` does, for a coroutine."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    call = _Call(function, args)

    def tell() -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(over.set)

    call.start(tell)
    with suppress(TimeoutError):
        await asyncio.wait_for(over.wait(), timeout)
    return call.result()


class HurriedStorage(RateLimitStorage):
    """Asks a storage that has no timeouts of its own."""

    prompt = True

    def __init__(self, storage: RateLimitStorage, timeout: float = TIMEOUT) -> None:
        self._storage = storage
        self._timeout = timeout
        self.shared_across_processes = storage.shared_across_processes
        self._awaits = type(storage).take_async is not RateLimitStorage.take_async

    def take(self, counters: Sequence[Counter], keys: Sequence[str]) -> Sequence[Verdict]:
        return soon(self._storage.take, counters, keys, timeout=self._timeout)

    async def take_async(self, counters: Sequence[Counter], keys: Sequence[str]) -> Sequence[Verdict]:
        if not self._awaits:
            return await soon_async(self._storage.take, counters, keys, timeout=self._timeout)
        async with asyncio.timeout(self._timeout):
            return await self._storage.take_async(counters, keys)

    def keep(self, tables: Iterable[str]) -> None:
        self._storage.keep(tables)

    def stop(self) -> None:
        self._storage.stop()


class _Call(Generic[Result]):
    """A call in a thread of its own."""

    def __init__(self, function: Callable[..., Result], args: tuple[Any, ...]) -> None:
        self._function = function
        self._args = args
        self._returned: list[Result] = []
        self._raised: Exception | None = None

    def start(self, when_over: Callable[[], None]) -> None:
        threading.Thread(target=self._run, args=(when_over,), name="shield-limits", daemon=True).start()

    def _run(self, when_over: Callable[[], None]) -> None:
        try:
            self._returned.append(self._function(*self._args))
        except Exception as error:  # noqa: BLE001 - raised again by result()
            self._raised = error
        when_over()

    def result(self) -> Result:
        if self._raised is not None:
            raise self._raised
        if not self._returned:
            raise BackendError("The counters do not answer.")
        return self._returned[0]
