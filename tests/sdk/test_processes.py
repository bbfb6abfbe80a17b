"""Servers that fork their workers, forks and subprocesses: without any hook in a service's own code."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.conftest import ControlPlane, Operator
from tests.conftest import eventually, missing_service
from tests.heavy import HEAVY
from tests.sdk.fleet import DJANGO, FASTAPI, ServiceProcess, register
from tests.sdk.proxy import Link
from tests.servers.processes import ROOT
from tests.shield_server.nginx import Nginx

pytestmark = pytest.mark.servers

WORKERS = 2
PRELOADED = ("--preload", "--workers", str(WORKERS))
#: Each kind of worker, with what it can serve.
SERVICES = [
    ("gunicorn sync", "wsgi"),
    ("gunicorn gthread", "wsgi"),
    ("gunicorn uvicorn", "asgi"),
    ("gunicorn uvicorn", "fastapi"),
]
SOME = SERVICES if HEAVY else SERVICES[1::2]
KEYS = {"fastapi": f"GET:{FASTAPI['open']}", "wsgi": DJANGO["open"], "asgi": DJANGO["open"]}


@pytest.fixture
def operator(control: ControlPlane) -> Iterator[Operator]:
    with Operator(control.address) as somebody:
        register(somebody, *set(KEYS.values()))
        yield somebody
        for key in set(KEYS.values()):
            somebody.change("enable", key)


@pytest.fixture
def link(control: ControlPlane) -> Iterator[Link]:
    with Link(control.port) as between:
        yield between


@pytest.mark.parametrize("kind, application", SOME, ids=map("-".join, SOME))
def test_preloaded_workers_follow_an_engine_that_the_master_never_started(
    link: Link, operator: Operator, tmp_path: Path, kind: str, application: str
) -> None:
    key = KEYS[application]
    operator.change("disable", key)
    with ServiceProcess(kind, application, link.address, tmp_path, args=PRELOADED) as service:
        path = service.paths["open"]
        assert set(service.by_process(path, WORKERS).values()) == {503}
        operator.change("enable", key)
        eventually(lambda: set(service.by_process(path, WORKERS).values()) == {200})


@pytest.mark.parametrize("kind, application", SERVICES, ids=map("-".join, SERVICES))
def test_preloaded_workers_leave_the_stream_of_their_master_alone(
    link: Link, operator: Operator, tmp_path: Path, kind: str, application: str
) -> None:
    key = KEYS[application]
    operator.change("disable", key)
    with ServiceProcess(
        kind, application, link.address, tmp_path, args=PRELOADED, env={"STARTED": "1"}
    ) as service:
        masters = eventually(lambda: link.streams)
        path = service.paths["open"]
        assert set(service.by_process(path, WORKERS).values()) == {503}
        eventually(lambda: len(link.streams) == 1 + WORKERS)
        operator.change("enable", key)
        eventually(lambda: set(service.by_process(path, WORKERS).values()) == {200})
        assert masters < link.streams


@pytest.mark.parametrize("kind, application", SOME, ids=map("-".join, SOME))
def test_preloaded_workers_serve_what_their_master_knew_while_the_server_is_out_of_reach(
    link: Link, operator: Operator, tmp_path: Path, kind: str, application: str
) -> None:
    key = KEYS[application]
    operator.change("disable", key)
    with ServiceProcess(
        kind, application, link.address, tmp_path, args=PRELOADED, env={"STARTED": "1"}
    ) as service:
        assert "started at revision" in service.log
        link.refuse()
        path = service.paths["open"]
        assert set(service.by_process(path, WORKERS).values()) == {503}
        link.mend()
        operator.change("enable", key)
        eventually(lambda: set(service.by_process(path, WORKERS).values()) == {200})


@pytest.fixture(params=["http", "https"])
def parents_address(
    request: pytest.FixtureRequest, link: Link, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The address of the server, over TLS too; the link is where its streams can be counted."""
    if request.param == "http":
        yield link.address
        return
    try:
        proxy = Nginx(link.port, strips=False, keeps_host=True)
    except FileNotFoundError as error:
        missing_service("nginx", str(error))
        raise
    with proxy:
        monkeypatch.setenv("CERTIFICATE", str(proxy.directory / "certificate.pem"))
        yield proxy.origin


PARENT = """
import gc, json, multiprocessing, os, ssl, subprocess, sys, time, warnings
from shield_core.backends.server import ShieldServerBackend
from shield_core.engine import ShieldEngine

warnings.filterwarnings("ignore", message=".*multi-threaded.*fork")
address, certificate = sys.argv[1], os.environ.get("CERTIFICATE")
verify = ssl.create_default_context(cafile=certificate) if certificate else True
backend = ShieldServerBackend(
    address, "payments-service", username="olga", password="secret",
    snapshot_path="", reconnect_delay=0.2, verify=verify,
)
engine = ShieldEngine(backend, service="payments-service")
engine.sync.start()

def opens(path):
    return engine.decide("GET", path).allowed

def wait_until(condition):
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.005)

def wait_for(word):
    print("ready", flush=True)
    assert sys.stdin.readline().strip() == word

wait_until(lambda: backend.streams)
stream = backend._stream
"""

#: What a parent does while its stream is open; it ends with whether the stream goes on.
DOINGS = {
    "a subprocess": """
        for _ in range(3):
            subprocess.run([sys.executable, "-c", "pass"], check=True)
            subprocess.run(["true"], check=True, close_fds=False)
        """,
    "a fork that ends at once": """
        for _ in range(3):
            pid = os.fork()
            if not pid:
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        """,
    "a fork that tidies up": """
        pid = os.fork()
        if not pid:
            engine.sync.stop()
            backend.connection.close()
            del engine, backend, stream
            gc.collect()
            sys.exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        """,
    "a fork that follows by itself": """
        pid = os.fork()
        if not pid:
            assert not opens("/pay")
            wait_until(lambda: backend.streams)
            engine.sync.stop()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        """,
    "multiprocessing": """
        def work(answers):
            answers.put(opens("/pay"))
            wait_until(lambda: backend.streams)

        forking = multiprocessing.get_context("fork")
        answers = forking.SimpleQueue()
        workers = [forking.Process(target=work, args=(answers,)) for _ in range(3)]
        for one in workers:
            one.start()
        for one in workers:
            one.join(20)
        assert [one.exitcode for one in workers] == [0, 0, 0]
        assert [answers.get() for _ in workers] == [False] * 3
        """,
}

END = """
wait_for("change")
wait_until(lambda: opens("/pay"))
assert backend._stream is stream and stream.error is None
engine.sync.stop()
"""


class Parent:
    """A process that follows the server at ``address`` and does one of the ``DOINGS``."""

    def __init__(self, address: str, doing: str) -> None:
        program = PARENT + 'wait_for("do")\n' + textwrap.dedent(doing) + END
        self._process = subprocess.Popen(
            [sys.executable, "-X", "dev", "-W", "error::ResourceWarning", "-c", program, address],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Parent:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.communicate()

    def ready(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def tell(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()

    def end(self) -> int:
        return self._process.wait(20)


@pytest.mark.parametrize("doing", DOINGS)
def test_a_parents_stream_goes_on_through(
    link: Link, operator: Operator, parents_address: str, doing: str
) -> None:
    operator.change("disable", "GET:/pay")
    with Parent(parents_address, DOINGS[doing]) as parent:
        parent.ready()
        streams = link.streams
        assert len(streams) == 1
        parent.tell("do")
        parent.ready()
        assert streams <= link.streams
        operator.change("enable", "GET:/pay")
        parent.tell("change")
        assert parent.end() == 0


def test_children_of_a_parent_see_the_next_change(link: Link, operator: Operator) -> None:
    doing = """
        def work(found):
            found.put(opens("/pay"))
            wait_until(lambda: opens("/pay"))
            found.put(opens("/pay"))

        forking = multiprocessing.get_context("fork")
        found = forking.SimpleQueue()
        worker = forking.Process(target=work, args=(found,))
        worker.start()
        assert found.get() is False
        wait_for("open")
        assert found.get() is True
        worker.join(20)
        """
    operator.change("disable", "GET:/pay")
    with Parent(link.address, doing) as parent:
        parent.ready()
        parent.tell("do")
        parent.ready()
        operator.change("enable", "GET:/pay")
        parent.tell("open")
        parent.ready()
        parent.tell("change")
        assert parent.end() == 0


def test_a_child_does_not_wait_for_a_server_that_is_not_there(link: Link, operator: Operator) -> None:
    doing = """
        pid = os.fork()
        if not pid:
            begun = time.monotonic()
            assert not opens("/pay")
            assert time.monotonic() - begun < 0.7, "it has the rules of its parent"
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        """
    operator.change("disable", "GET:/pay")
    with Parent(link.address, doing) as parent:
        parent.ready()
        link.refuse()
        parent.tell("do")
        parent.ready()
