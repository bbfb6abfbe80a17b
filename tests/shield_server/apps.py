"""Servers for processes of the tests; SERVER_OPTIONS is a JSON object of ShieldServer's arguments."""

import json
import os

from shield_core.backends.memory import MemoryBackend
from shield_core.engine import ShieldEngine
from shield_django.server import ShieldServer

ROUTES = {
    "payments": ["GET:/pay", "POST:/pay"],
    "orders": ["GET:/orders"],
    "static": ["GET:/files"],
    "login": ["GET:/door"],
}


def stock(backend):
    """Register the routes of some services, as they would over HTTP."""
    for service, keys in ROUTES.items():
        engine = ShieldEngine(backend, service=service, threads=False)
        engine.sync.register_batch([(key, {}) for key in keys])


def server_from_options(*, stocked=True):
    options = {"auth": ["olga", "secret"], "secret_key": "of the tests"}
    options |= json.loads(os.environ.get("SERVER_OPTIONS", "{}"))
    if isinstance(options.get("auth"), list):
        options["auth"] = tuple(options["auth"])
    if options.get("backend") in (None, "memory"):
        options["backend"] = MemoryBackend()
        if stocked:
            stock(options["backend"])
        return ShieldServer(**options)
    made = ShieldServer(**options)
    if stocked and options["backend"] != "models":
        stock(made.engine.backend)
    return made


class TwoServers:
    """One under /a, one under /b, as an application around them would mount them."""

    def __init__(self):
        self.servers = {}
        for name, password in (("a", "first"), ("b", "second")):
            backend = MemoryBackend()
            ShieldEngine(backend, service=f"of-{name}", threads=False).sync.register("GET:/here", {})
            self.servers[f"/{name}"] = ShieldServer(backend, ("olga", password), secret_key="shared")

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.servers["/a"](scope, receive, send)
            return
        prefix = scope["path"][:2]
        await self.servers[prefix]({**scope, "root_path": prefix}, receive, send)


def __getattr__(name):
    made = {
        "server": server_from_options,
        "unstocked": lambda: server_from_options(stocked=False),
        "two": TwoServers,
    }
    if name not in made:
        raise AttributeError(name)
    globals()[name] = found = made[name]()
    return found
