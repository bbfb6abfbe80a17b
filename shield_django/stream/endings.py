"""The end of the server: streams would keep it waiting, so they are ended at the first signal.

Lifespan does not tell in time: uvicorn sends its shutdown after all streams have ended, daphne none at
all. So the handlers of SIGTERM and SIGINT are wrapped, by the main thread, at its first stream.
Who comes again at once, on a connection that the server has not closed yet, is sent away as well.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

from shield_core import forking

#: Seconds after a signal in which no new stream begins; after them the signal was not the end.
_STOPPING = 5.0
_WHY = "stopping"


class _Ending(Protocol):
    def end(self, why: str) -> None: ...


class _Streams:
    """The streams of this process by their loops."""

    def __init__(self) -> None:
        self._by_loop: dict[asyncio.AbstractEventLoop, set[_Ending]] = {}
        self._wrapped: dict[int, Any] = {}
        self._stopping_until = 0.0
        forking.watch(self)

    def after_fork(self) -> None:
        self._by_loop = {}

    def add(self, stream: _Ending) -> None:
        self._wrap_handlers()
        loop = asyncio.get_running_loop()
        self._by_loop.setdefault(loop, set()).add(stream)
        if time.monotonic() < self._stopping_until:
            loop.call_soon(stream.end, _WHY)

    def discard(self, stream: _Ending) -> None:
        loop = asyncio.get_running_loop()
        streams = self._by_loop.get(loop)
        if streams is not None:
            streams.discard(stream)
            if not streams:
                del self._by_loop[loop]

    def end_all(self, why: str) -> None:
        for loop, streams in list(self._by_loop.items()):
            if not loop.is_closed():
                loop.call_soon_threadsafe(_end, list(streams), why)

    def _wrap_handlers(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            handler = signal.getsignal(number)
            if handler is not self._wrapped.get(number):
                self._wrapped[number] = self._ending_first(handler)
                signal.signal(number, self._wrapped[number])

    def _ending_first(self, handler: Any) -> Callable[[int, FrameType | None], Any]:
        def end_and_go_on(number: int, frame: FrameType | None) -> Any:
            self._stopping_until = time.monotonic() + _STOPPING
            self.end_all(_WHY)
            if callable(handler):
                return handler(number, frame)
            if handler is signal.SIG_DFL:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            return None

        return end_and_go_on


def _end(streams: list[_Ending], why: str) -> None:
    for stream in streams:
        stream.end(why)


_streams = _Streams()
watch = _streams.add
forget = _streams.discard
end_all = _streams.end_all
