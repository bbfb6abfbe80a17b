"""A throw-away PostgreSQL cluster: real, private, on a free port, without durability."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg

_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=120")


@dataclass
class Postgres:
    """A server that listens on localhost, where anybody may log in as the superuser ``shield``."""

    directory: Path
    bindir: Path
    port: int

    @classmethod
    def start(cls) -> Postgres:
        """Raises FileNotFoundError where PostgreSQL is not installed."""
        directory = Path(tempfile.mkdtemp(prefix="shield-pg-"))
        server = cls(directory, _bindir(), free_port())
        if os.geteuid() == 0:
            shutil.chown(directory, "postgres")
        server._run("initdb", "-D", server.data, "-U", "shield", "-A", "trust", "--no-sync", "-E", "UTF8")
        server.resume()
        return server

    @property
    def data(self) -> str:
        return str(self.directory / "data")

    def resume(self) -> None:
        settings = " ".join(f"-c {one}" for one in _FAST)
        options = f"-p {self.port} -k {self.directory} -c listen_addresses=127.0.0.1 {settings}"
        log = str(self.directory / "log")
        self._run("pg_ctl", "-D", self.data, "-l", log, "-o", options, "-w", "start")

    def pause(self) -> None:
        """Stop the server; ``resume`` brings it back with its data."""
        self._run("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop")

    def stop(self) -> None:
        self.pause()
        shutil.rmtree(self.directory, ignore_errors=True)

    def database(self, template: str = "template1") -> dict[str, Any]:
        """Create a database, empty or as ``template`` is; return it as Django's DATABASES wants it."""
        name = f"test_{uuid4().hex[:8]}"
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": name,
            "USER": "shield",
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
        }

    @property
    def _dsn(self) -> str:
        return f"host=127.0.0.1 port={self.port} user=shield dbname=postgres"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.bindir / program), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        # The server inherits what pg_ctl has open, so output goes to a file and not to a pipe.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                command, cwd="/", stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
            output.seek(0)
            assert done.returncode == 0, f"{command}: {output.read()}"


def _bindir() -> Path:
    found = shutil.which("pg_config")
    if found is None:
        raise FileNotFoundError("pg_config is not on PATH")
    text = subprocess.run([found, "--bindir"], check=True, capture_output=True, text=True).stdout
    bindir = Path(text.strip())
    if not (bindir / "initdb").exists():
        raise FileNotFoundError(f"there is no initdb in {bindir}")
    return bindir


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
