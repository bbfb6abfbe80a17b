"""Sends a real HTTP request to a route of this very server, for browsers without JavaScript."""

from __future__ import annotations

from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException

from board.tiles import Tile, pretty

TIMEOUT = 10  # seconds


@dataclass(frozen=True)
class Answer:
    """What came back, as it came back."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: str


class NoAnswer(Exception):
    """The server could not be asked; the message says why."""


def ask(tile: Tile, host: str, port: int, host_header: str) -> Answer:
    """Send the tile's request to ``host:port``. Raises NoAnswer."""
    headers = {"Host": host_header, "Accept": "application/json", "User-Agent": "the demo's first page"}
    if tile.method == "POST":
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    connection = HTTPConnection(host, port, timeout=TIMEOUT)
    try:
        connection.request(tile.method, tile.url, body=tile.body or None, headers=headers)
        response = connection.getresponse()
        body = response.read().decode(errors="replace")
    except (OSError, HTTPException) as error:
        raise NoAnswer(f"{host}:{port} could not be asked: {error}.") from error
    finally:
        connection.close()
    content_type = response.getheader("Content-Type", "")
    return Answer(response.status, response.reason, response.getheaders(), pretty(content_type, body))
