"""Processes on one database tell each other of commits through the project's channel layer.

Without one they look at the revision row once per refresh interval; with one they look at once.
A message carries nothing, so a lost one costs no more than that interval.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

logger = logging.getLogger("shield.wakeup")

GROUP = "shield.changes"
MESSAGE = {"type": "shield.changed"}
_IN_MEMORY = "channels.layers.InMemoryChannelLayer"
#: Seconds after which a group is joined again; layers forget members after a day.
_REJOIN = 3600.0
_RETRY = 10.0
_SEND_TIMEOUT = 2.0


def has_layer(alias: str | None) -> bool:
    """Whether the channel layer ``alias`` reaches other processes."""
    layers: dict[str, Any] = getattr(settings, "CHANNEL_LAYERS", None) or {}
    layer = layers.get(alias or "")
    return layer is not None and layer.get("BACKEND") != _IN_MEMORY


class Wakeup:
    """Waits for news and sends them; falls back to waiting when the layer fails."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._woken = threading.Event()
        self._sending = threading.Lock()
        self._sender: asyncio.AbstractEventLoop | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: asyncio.Task[Any] | None = None
        self._channel = ""
        self._joined = self._failed = float("-inf")

    @property
    def _layer(self) -> Any:
        return import_string("channels.layers.get_channel_layer")(self._alias)

    def send(self) -> None:
        """Tell the other processes. The commit is done: a layer that fails only costs them time."""
        try:
            with self._sending:
                self._send()
        except Exception as error:  # noqa: BLE001 - layers raise what their servers raise
            logger.warning("The channel layer %r does not take messages: %s", self._alias, error)

    def _send(self) -> None:
        """Send on a loop that is kept, because a layer connects anew for each loop it meets."""
        if self._sender is None:
            self._sender = asyncio.new_event_loop()
        self._sender.run_until_complete(
            asyncio.wait_for(self._layer.group_send(GROUP, MESSAGE), _SEND_TIMEOUT)
        )

    def wait(self, timeout: float) -> None:
        """Return at news, at ``wake`` or after ``timeout`` seconds. Only one thread may wait."""
        if time.monotonic() - self._failed < _RETRY:
            self._woken.wait(timeout)
        elif not self._woken.is_set():
            self._receive(timeout)
        self._woken.clear()

    def wake(self) -> None:
        self._woken.set()
        loop, waiting = self._loop, self._waiting
        if loop is not None and waiting is not None and not loop.is_closed():
            loop.call_soon_threadsafe(waiting.cancel)

    def close(self) -> None:
        """Leave the layer; called by the thread that waits."""
        loop, self._loop, self._channel = self._loop, None, ""
        with self._sending:
            sender, self._sender = self._sender, None
        for one in (loop, sender):
            if one is not None and not one.is_closed():
                one.run_until_complete(one.shutdown_asyncgens())
                one.close()

    def _receive(self, timeout: float) -> None:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        try:
            self._loop.run_until_complete(self._listen(timeout))
        except Exception as error:  # noqa: BLE001 - layers raise what their servers raise
            self._failed = time.monotonic()
            self._channel = ""
            logger.warning("The channel layer %r cannot be heard: %s", self._alias, error)

    async def _listen(self, timeout: float) -> None:
        layer = self._layer
        if not self._channel or time.monotonic() - self._joined > _REJOIN:
            self._channel = self._channel or await layer.new_channel("shield")
            await layer.group_add(GROUP, self._channel)
            self._joined = time.monotonic()
        self._waiting = asyncio.create_task(layer.receive(self._channel))
        try:
            await asyncio.wait({self._waiting}, timeout=timeout)
            if self._waiting.done() and not self._waiting.cancelled():
                self._waiting.result()
        finally:
            self._waiting.cancel()
            await asyncio.wait({self._waiting})
            self._waiting = None
