"""A web server that answers as it is told, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

JSON = "application/json"


@dataclass(frozen=True)
class Asked:
    """A request; ``headers`` have names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def token(self) -> str | None:
        return self.headers.get("authorization", "").removeprefix("Bearer ") or None


class Site:
    """Every request gets the answer that ``answers`` gave last, or what is told of its path."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._answers: dict[str, tuple[int, bytes, dict[str, str]]] = {}
        self.answers(200, {})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def answers(self, status: int, body: Any = None, *, at: str = "", **headers: str) -> None:
        """Answer so from now on; ``body`` is JSON unless it is bytes, in headers ``_`` stands for ``-``."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._answers[at] = (status, raw, {"Content-Type": JSON, **named})

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer_to(self, path: str) -> tuple[int, bytes, dict[str, str]]:
        return self._answers.get(path.partition("?")[0], self._answers[""])

    def _handler(site) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - ``self`` is the handler's
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                site.asked.append(Asked(self.command, self.path, headers, body))
                status, raw, named = site._answer_to(self.path)
                self.send_response(status)
                for name, value in named.items():
                    self.send_header(name, value)
                if status == 304:
                    raw = b""
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_POST = do_DELETE = handle_one  # noqa: N815 - http.server's names

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        return Handler
