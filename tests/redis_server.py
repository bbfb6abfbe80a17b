"""A throw-away Redis: a real process on a free port that keeps its data in a directory of its own."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Self

import redis

from tests.postgres import free_port

#: Nothing is saved unasked, and a replica is served at once, where the default waits 5 s for more of them.
_FAST = ('save ""', "repl-diskless-sync-delay 0")


class RedisServer:
    """``options`` are written into its configuration; ``stop`` and ``start`` keep the data."""

    def __init__(self, *options: str, sentinel: bool = False) -> None:
        binary = shutil.which("redis-server")
        if binary is None:
            raise FileNotFoundError("redis-server is not on PATH")
        self._binary = binary
        self._mode = ["--sentinel"] if sentinel else []
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="shield-redis-"))
        self._configuration = self.directory / "redis.conf"
        lines = [f"port {self.port}", "bind 127.0.0.1", f"dir {self.directory}", *options]
        self._configuration.write_text("\n".join(lines if sentinel else [*lines, *_FAST]) + "\n")
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [self._binary, str(self._configuration), *self._mode],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with self.client() as client:
            while not _answers(client):
                assert self.process.poll() is None, f"redis-server ended with {self.process.returncode}"

    def stop(self, *, save: bool = False) -> None:
        if self.process is None:
            return
        if save:
            self("SAVE")
        self.resume()
        self.process.kill()
        self.process.wait()
        self.process = None

    def hang(self) -> None:
        """Keep connections open and answer nothing, until ``resume``."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def client(self, **options: Any) -> Any:
        return redis.Redis(port=self.port, socket_timeout=10, **options)

    def __call__(self, *command: Any) -> Any:
        """Run one command."""
        with self.client() as client:
            return client.execute_command(*command)


def _answers(client: Any) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False
