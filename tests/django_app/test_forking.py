"""A process that forks while one of its threads is at work."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from shield_django.discovery import Catalog


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_learns_the_routes_that_another_thread_was_learning():
    catalog, held, done = Catalog(), threading.Event(), threading.Event()

    def be_learning() -> None:
        with catalog._lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=be_learning)
    thread.start()
    held.wait()
    child = os.fork()
    if not child:
        signal.alarm(20)  # which ends a child that waits for ever
        catalog.learn("tests.project.urls", lambda new: None)
        os._exit(0 if catalog.templates else 1)
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
