"""Runs where `api-shield` is installed: its engine on a store, operations as JSON lines on stdin."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any


def make_backend(kind: str, where: str) -> Any:
    if kind == "redis":
        from shield.core.backends.redis import RedisBackend

        return RedisBackend(url=where)
    from shield.core.backends.file import FileBackend

    return FileBackend(path=where)


async def main(kind: str, where: str) -> None:
    from shield.core.engine import ShieldEngine

    async with ShieldEngine(backend=make_backend(kind, where)) as engine:
        while line := await asyncio.to_thread(sys.stdin.readline):
            operation, args, fields = json.loads(line)
            found = await getattr(engine, operation)(*args, **fields)
            answer = found.model_dump(mode="json") if hasattr(found, "model_dump") else None
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
