"""Processes on one database wake each other over a real channel layer."""

from __future__ import annotations

import threading
import time

import pytest

from shield_django.wakeup import Wakeup, has_layer

PATIENCE = 20.0


@pytest.fixture
def layer(settings, redis_server):
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": [redis_server.url]},
        }
    }


@pytest.fixture
def wakeup():
    made = []

    def make() -> Wakeup:
        made.append(Wakeup("default"))
        return made[-1]

    yield make
    for one in made:
        one.close()


def waited(listener: Wakeup, act, seconds: float = PATIENCE) -> float:
    """Return how long the listener waited while ``act`` is done again and again."""
    started = time.monotonic()
    thread = threading.Thread(target=lambda: (listener.wait(seconds), listener.close()))
    thread.start()
    while thread.is_alive():
        act()
        thread.join(0.05)
    return time.monotonic() - started


def test_a_commit_elsewhere_ends_the_wait(layer, wakeup):
    sender = wakeup()
    assert waited(wakeup(), sender.send) < PATIENCE / 2


def test_waking_ends_the_wait_too(layer, wakeup):
    listener = wakeup()
    assert waited(listener, listener.wake) < PATIENCE / 2


def test_without_news_the_wait_ends_in_time(layer, wakeup):
    assert 0.2 <= waited(wakeup(), lambda: None, 0.2) < PATIENCE / 2


def test_a_layer_that_is_down_costs_no_commit_and_no_busy_loop(settings, wakeup, caplog):
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": ["redis://127.0.0.1:1/0"]},
        }
    }
    one = wakeup()
    one.send()
    assert "does not take messages" in caplog.text
    one.wait(0.05)
    assert "cannot be heard" in caplog.text
    started = time.monotonic()
    one.wait(0.2)
    assert time.monotonic() - started >= 0.2


@pytest.mark.parametrize(
    ("layers", "alias", "reaches"),
    [
        ({}, "default", False),
        ({"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}, "default", False),
        ({"default": {"BACKEND": "channels_redis.core.RedisChannelLayer"}}, "default", True),
        ({"default": {"BACKEND": "channels_redis.core.RedisChannelLayer"}}, None, False),
    ],
)
def test_only_a_layer_that_reaches_other_processes_counts(settings, layers, alias, reaches):
    settings.CHANNEL_LAYERS = layers
    assert has_layer(alias) is reaches
