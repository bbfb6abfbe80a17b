"""A service that uses `api-shield`; it runs where this repository cannot be imported."""

import os

from fastapi import FastAPI
from shield.fastapi import ShieldRouter, force_active, maintenance, rate_limit
from shield.sdk import ShieldSDK

sdk = ShieldSDK(
    server_url=os.environ["SERVER_URL"],
    app_id="payments-service",
    username=os.environ.get("SERVER_USERNAME"),
    password=os.environ.get("SERVER_PASSWORD"),
    token=os.environ.get("SERVER_TOKEN"),
    reconnect_delay=0.1,
)
app = FastAPI()
sdk.attach(app)
router = ShieldRouter(engine=sdk.engine)


@router.get("/health")
@force_active
async def health():
    return "up"


@router.get("/pay")
async def read_payments():
    return "payments"


@router.post("/pay")
async def pay():
    return "paid"


@router.get("/refunds/{number}")
async def refund(number: int):
    return number


@router.get("/moving")
@maintenance(reason="says the code")
async def moving():
    return "moved"


@router.get("/limited")
@rate_limit("1000/minute")
async def limited():
    return "limited"


app.include_router(router)
