"""A forked child has the rules of its parent at once, and is fresh again soon, without any hook."""

import os
import sys
import textwrap
from subprocess import run

import pytest

PROGRAM = """
import os, sys, threading, time, traceback, warnings
from pathlib import Path
from shield_core.engine import ShieldEngine
from shield_core.backends.memory import MemoryBackend
from tests.core.notebook import NotebookBackend
from shield_core.models import RouteState

warnings.filterwarnings("ignore", message=".*multi-threaded.*fork")

class FileBackend(NotebookBackend):
    '''Pages are files of a directory, which both processes see.'''

    def __init__(self, directory):
        super().__init__(Pages(directory))

class Pages(dict):
    def __init__(self, directory):
        self.directory = Path(directory)

    def __getitem__(self, key):
        return dict(self.items())[key]

    def __setitem__(self, key, value):
        target = self.directory / key.replace("/", "|")
        target.with_suffix(".new").write_text(value)
        os.replace(target.with_suffix(".new"), target)

    def items(self):
        found = [path for path in self.directory.iterdir() if path.suffix != ".new"]
        return [(path.name.replace("|", "/"), path.read_text()) for path in found]

    def values(self):
        return [value for _, value in self.items()]

def threads():
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("shield-"))

def wait_until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.002)

def in_child(work):
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return pid

def finish(pid):
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, "the child failed"
"""

SCENARIOS = {
    "a child follows the store by its own thread": """
        engine = ShieldEngine(FileBackend(sys.argv[1]), refresh_interval=0.02)
        engine.sync.register("GET:/x", {})
        assert engine.decide("GET", "/x").allowed
        assert threads() == ["shield-loop", "shield-replica"]

        def child():
            assert threads() == []
            engine.decide("GET", "/x")
            assert "shield-replica" in threads()
            wait_until(lambda: not engine.decide("GET", "/x").allowed)
            engine.sync.disable("GET:/y")
            engine.sync.stop()
            assert threads() == []

        engine.sync.register("GET:/y", {})
        pid = in_child(child)
        engine.sync.disable("GET:/x")
        finish(pid)
        wait_until(lambda: not engine.decide("GET", "/y").allowed)
        engine.sync.stop()
    """,
    "a child has the rules of its parent before it has seen the store": """
        backend = FileBackend(sys.argv[1])
        engine = ShieldEngine(backend, refresh_interval=0.02, init_timeout=60)
        engine.sync.register("GET:/x", {})
        engine.sync.disable("GET:/x")
        assert not engine.decide("GET", "/x").allowed

        def child():
            backend.stuck = True
            started = time.monotonic()
            assert not engine.decide("GET", "/x").allowed
            assert time.monotonic() - started < 5

        finish(in_child(child))
        engine.sync.stop()
    """,
    "a child of a parent that never decided is cold": """
        engine = ShieldEngine(FileBackend(sys.argv[1]), refresh_interval=0.02)
        engine.backend.pages["GET:/x"] = RouteState(path="GET:/x", status="disabled").model_dump_json()

        def child():
            assert not engine.decide("GET", "/x").allowed

        finish(in_child(child))
        assert threads() == []
    """,
    "a child of a child is fresh too": """
        engine = ShieldEngine(FileBackend(sys.argv[1]), refresh_interval=0.02)
        engine.sync.register("GET:/x", {})
        assert engine.decide("GET", "/x").allowed

        def grandchild():
            assert engine.decide("GET", "/x").allowed
            engine.sync.disable("GET:/x")

        def child():
            assert engine.decide("GET", "/x").allowed
            finish(in_child(grandchild))
            wait_until(lambda: not engine.decide("GET", "/x").allowed)

        finish(in_child(child))
        wait_until(lambda: not engine.decide("GET", "/x").allowed)
        engine.sync.stop()
    """,
    "a fork while other threads write does not inherit their locks": """
        engine = ShieldEngine(MemoryBackend(), refresh_interval=0.02)
        engine.sync.register_batch([(f"GET:/{number}", {}) for number in range(4)])
        assert engine.decide("GET", "/0").allowed
        stop = threading.Event()

        def write(number):
            while not stop.is_set():
                engine.sync.disable(f"GET:/{number}")
                engine.sync.enable(f"GET:/{number}")

        writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for writer in writers:
            writer.start()

        def child():
            engine.sync.disable("GET:/0")
            assert not engine.decide("GET", "/0").allowed

        for _ in range(20):
            finish(in_child(child))
        stop.set()
        for writer in writers:
            writer.join()
        engine.sync.stop()
    """,
    "multiprocessing forks like any other": """
        import multiprocessing
        engine = ShieldEngine(FileBackend(sys.argv[1]), refresh_interval=0.02)
        engine.sync.register("GET:/x", {})
        assert engine.decide("GET", "/x").allowed

        def child():
            wait_until(lambda: not engine.decide("GET", "/x").allowed)

        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        engine.sync.disable("GET:/x")
        process.join(20)
        assert process.exitcode == 0
        engine.sync.stop()
    """,
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_fork(scenario, tmp_path):
    code = PROGRAM + textwrap.dedent(SCENARIOS[scenario])
    found = run(
        [sys.executable, "-X", "dev", "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (found.returncode, found.stderr) == (0, "")
