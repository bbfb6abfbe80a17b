"""A FastAPI service with limits, whose store is configured by its environment."""

from __future__ import annotations

import os
from typing import Any

from fastapi import FastAPI

from shield_core.config import make_engine
from shield_fastapi import ShieldMiddleware, rate_limit

engine = make_engine(refresh_interval=0.2)
app = FastAPI()
app.add_middleware(ShieldMiddleware, engine=engine)


@app.get("/items/{item}")
@rate_limit("20/hour", algorithm="sliding_window")
async def limited(item: str) -> Any:
    return {"pid": os.getpid()}


@app.get("/shop/")
async def shop() -> Any:
    return {"pid": os.getpid()}
