"""An nginx with TLS in front of a server: a real process on a free port, with a certificate of its own."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from tests.conftest import eventually
from tests.postgres import free_port

_CONFIGURATION = """
daemon off;
pid {directory}/pid;
error_log {directory}/error.log;
worker_processes 1;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        server_name localhost;
        ssl_certificate {directory}/certificate.pem;
        ssl_certificate_key {directory}/key.pem;
        location {location} {{
            proxy_pass {upstream};
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            {headers}
        }}
    }}
}}
"""


class Nginx:
    """Passes ``location`` on to ``port_behind``, with the path as it is or without ``location``."""

    def __init__(self, port_behind: int, location: str = "/", *, strips: bool, keeps_host: bool) -> None:
        binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
        if binary is None:
            raise FileNotFoundError("nginx is not installed")
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="shield-nginx-"))
        self._command = [binary, "-p", str(self.directory), "-c", "nginx.conf", "-e", "error.log"]
        upstream = f"http://127.0.0.1:{port_behind}"
        (self.directory / "nginx.conf").write_text(
            _CONFIGURATION.format(
                directory=self.directory,
                port=self.port,
                location=location,
                upstream=f"{upstream}/" if strips else upstream,
                headers="proxy_set_header Host $http_host;" if keeps_host else "",
            )
        )
        make_certificate(self.directory)

    @property
    def origin(self) -> str:
        return f"https://localhost:{self.port}"

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(self._listens)
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(10)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _listens(self) -> bool:
        assert self._process.poll() is None, (self.directory / "error.log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def make_certificate(directory: Path) -> None:
    """Make a certificate that signs itself."""
    files = ["-keyout", str(directory / "key.pem"), "-out", str(directory / "certificate.pem")]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files]
    subprocess.run(command, check=True, capture_output=True)
