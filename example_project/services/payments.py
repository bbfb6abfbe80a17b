"""The shop's payments service: FastAPI on the same engine.

From the repository's root::

    .venv/bin/uvicorn example_project.services.payments:app --port 8001

Its state is in ``.demo/payments.json`` (``PAYMENTS_STATE`` names another file), so a second process
that opens the same file changes it live, as ``docs/fastapi.md`` shows. With ``SHIELD_SERVER_URL`` it
follows that Shield Server instead, as in ``make demo-fleet``.
"""

from __future__ import annotations

import os
from decimal import Decimal
from itertools import count
from pathlib import Path

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

from shield_core.backends.file import FileBackend
from shield_core.engine import ShieldEngine
from shield_fastapi import (
    ShieldMiddleware,
    ShieldRouter,
    ShieldSDK,
    deprecated,
    disabled,
    env_only,
    force_active,
    maintenance,
    rate_limit,
)

SERVER = os.environ.get("SHIELD_SERVER_URL")
RELEASE = "payments 1"


def enforce(app: FastAPI) -> ShieldEngine:
    """Let ``app`` enforce what the server says, or the file where there is no server."""
    if SERVER:
        sdk = ShieldSDK(SERVER, "payments-service", release=RELEASE)
        sdk.attach(app)
        return sdk.engine
    state = Path(os.environ.get("PAYMENTS_STATE", ".demo/payments.json"))
    state.parent.mkdir(parents=True, exist_ok=True)
    engine = ShieldEngine(FileBackend(state), os.environ.get("SHIELD_ENV"), release=RELEASE)
    app.add_middleware(ShieldMiddleware, engine=engine)
    return engine


app = FastAPI(title="Payments of the example shop")
engine = enforce(app)
router = ShieldRouter(engine=engine)


class Payment(BaseModel):
    """A payment for an order, in euros."""

    order: str = Field(min_length=1)
    amount: Decimal = Field(gt=0, decimal_places=2)


_numbers = count(1)
_payments: dict[int, Payment] = {}


@router.get("/health")
@force_active
async def health() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/payments")
async def list_payments() -> dict[int, Payment]:
    return _payments


@router.post("/payments", status_code=201)
@rate_limit("20/minute", burst=10, algorithm="token_bucket")
async def pay(payment: Payment) -> dict[str, int]:
    number = next(_numbers)
    _payments[number] = payment
    return {"number": number}


@router.get("/payments/{number}")
async def show(number: int) -> Payment:
    if number not in _payments:
        raise HTTPException(404)
    return _payments[number]


@router.post("/payments/{number}/refund")
@maintenance(reason="Refunds wait for the bank's new interface.")
async def refund(number: int) -> dict[str, int]:
    return {"refunded": number}


@router.get("/transactions")
@deprecated("2027-06-30", use_instead="/payments")
async def transactions() -> dict[int, Payment]:
    return _payments


@router.get("/export")
@disabled(reason="Exports are made at night now.")
async def export() -> str:
    return ""


@router.get("/debug/ledger")
@env_only("dev")
async def ledger() -> dict[str, int]:
    return {"payments": len(_payments)}


app.include_router(router)
