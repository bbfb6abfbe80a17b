"""Counters in the process: exact under threads, all or nothing over layers, bounded in memory."""

import os
import random
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest

from shield_core.rate_limit.storage.memory import MemoryRateLimitStorage
from tests.rate_limit.counting import ALL, BUCKET, FIXED, SLIDING, Counting, counter

LONG = "366d"


@pytest.fixture
def counting():
    return Counting()


def three(limits, algorithm=FIXED, shadows=(False, False, False)):
    names = ("global:", "service:shop", "route:shop:GET:/pay")
    return [
        counter(limit, algorithm, name, shadow=shadow)
        for limit, name, shadow in zip(limits, names, shadows, strict=True)
    ]


def in_threads(count, work):
    """Run ``work`` in so many threads that begin at once; return what all said."""
    begin = threading.Barrier(count)

    def run():
        begin.wait()
        return work()

    with ThreadPoolExecutor(count) as pool:
        return [found.result() for found in [pool.submit(run) for _ in range(count)]]


@pytest.mark.parametrize("algorithm", ALL)
class TestThreads:
    def test_8_threads_never_admit_more_than_the_limit(self, algorithm):
        storage = MemoryRateLimitStorage()
        asked = counter(f"1000/{LONG}", algorithm)
        passed = in_threads(8, lambda: sum(storage.take_one(asked, "a")[0] for _ in range(500)))
        assert sum(passed) == 1000

    def test_8_threads_never_admit_more_than_the_tightest_layer(self, algorithm):
        storage = MemoryRateLimitStorage()
        asked = three([f"{limit}/{LONG}" for limit in (2000, 500, 1000)], algorithm)

        def work():
            return sum(
                all(one[0] for one in storage.take(asked, ["g", "s", random.choice("ab")]))
                for _ in range(300)
            )

        assert sum(in_threads(8, work)) == 500

    def test_64_threads_below_the_limit_see_no_denial(self, algorithm):
        storage = MemoryRateLimitStorage()
        asked = counter(f"6400/{LONG}", algorithm)
        assert all(in_threads(64, lambda: all(storage.take_one(asked, "a")[0] for _ in range(100))))

    def test_layers_that_share_some_limits_do_not_deadlock(self, algorithm):
        storage = MemoryRateLimitStorage()
        wide = three(["100000/s"] * 3, algorithm)
        other = [*wide[:2], counter("100000/s", algorithm, "route:shop:GET:/other")]

        def work():
            for _ in range(300):
                storage.take(random.choice([wide, other, wide[1:], wide[:1]]), ["a", "a", "a"])
            return True

        assert all(in_threads(8, work))


@pytest.mark.parametrize("algorithm", ALL)
class TestLayers:
    @pytest.mark.parametrize("denying", [0, 1, 2])
    def test_a_request_that_one_denies_charges_none_of_the_others(self, counting, algorithm, denying):
        limits = [f"10/{LONG}"] * 3
        limits[denying] = f"1/{LONG}"
        asked = three(limits, algorithm)
        for _ in range(5):
            counting.storage.take(asked, ["a"] * 3)
        for index in {0, 1, 2} - {denying}:
            assert counting.admitted(asked[index], 20) == 9

    def test_a_request_that_one_denies_charges_no_shadow(self, counting, algorithm):
        asked = three([f"1/{LONG}", f"10/{LONG}", f"10/{LONG}"], algorithm, (False, True, True))
        for _ in range(5):
            counting.storage.take(asked, ["a"] * 3)
        assert counting.admitted(asked[1], 20) == 9
        assert counting.admitted(asked[2], 20) == 9

    def test_a_shadow_that_would_deny_keeps_nobody_from_the_others(self, counting, algorithm):
        asked = three([f"2/{LONG}", f"10/{LONG}", f"10/{LONG}"], algorithm, (True, False, False))
        verdicts = [counting.storage.take(asked, ["a"] * 3) for _ in range(5)]
        assert [one[0][0] for one in verdicts] == [True, True, False, False, False]
        assert all(one[1][0] and one[2][0] for one in verdicts)
        assert counting.admitted(asked[1], 20) == 5

    def test_a_denied_new_key_is_not_counted(self, counting, algorithm):
        asked = three([f"1/{LONG}", f"3/{LONG}", f"3/{LONG}"], algorithm)
        counting.storage.take(asked, ["a", "a", "a"])
        counting.storage.take(asked, ["a", "new", "new"])
        assert counting.admitted(asked[1], 9, "new") == 3


@pytest.mark.parametrize("algorithm", ALL)
class TestChangedLimits:
    def test_a_changed_limit_keeps_counts(self, counting, algorithm):
        assert counting.admitted(counter(f"5/{LONG}", algorithm), 4) == 4
        assert counting.admitted(counter(f"8/{LONG}", algorithm), 9) <= 8 - 4
        assert not counting.passes(counter(f"3/{LONG}", algorithm))

    def test_a_new_generation_begins_anew_and_touches_no_neighbour(self, counting, algorithm):
        pay = counter(f"1/{LONG}", algorithm, "route:GET:/pay")
        payments = counter(f"1/{LONG}", algorithm, "route:GET:/payments")
        for one in (pay, payments):
            counting.passes(one)
        again = counter(f"1/{LONG}", algorithm, "route:GET:/pay", generation=7)
        assert counting.passes(again)
        assert not counting.passes(again)
        assert not counting.passes(payments)

    def test_what_is_not_kept_is_forgotten_and_what_is_stays(self, counting, algorithm):
        kept, gone = (counter(f"1/{LONG}", algorithm, name) for name in ("route:/kept", "route:/gone"))
        for one in (kept, gone):
            counting.passes(one)
        before = counting.storage.cost
        counting.storage.keep([kept.table])
        assert counting.storage.cost == before // 2
        assert not counting.passes(kept)
        assert counting.passes(gone)


@pytest.mark.parametrize("algorithm", ALL)
class TestMemory:
    BUDGET = 1024 * 1024

    def test_a_flood_of_new_keys_stays_within_the_budget(self, algorithm):
        asked = counter(f"100/{LONG}", algorithm)
        tracemalloc.start()
        try:
            counting = Counting(budget=self.BUDGET)
            for number in range(50_000):
                counting.take(asked, f"2001:db8:{number:x}::/64")
            real = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert counting.storage.cost < 1.1 * self.BUDGET
        assert real < 1.25 * self.BUDGET

    def test_a_flood_over_many_limits_takes_the_budget_and_their_shares_of_it(self, algorithm):
        asked = [counter(f"100/{LONG}", algorithm, f"route:/{number}") for number in range(100)]
        counting = Counting(budget=self.BUDGET)
        for number in range(10_000):
            counting.take(asked[0], f"first {number}")
        for number in range(50_000):
            counting.take(asked[number % 100], f"then {number}")
        assert counting.storage.cost < 2.1 * self.BUDGET

    def test_many_requests_of_some_keys_stay_below_twice_the_budget(self, algorithm):
        asked = counter(f"100000/{LONG}", algorithm)
        counting = Counting(budget=self.BUDGET)
        for number in range(400_000):
            counting.take(asked, str(number % 200))
        assert counting.storage.cost < 2 * self.BUDGET

    def test_a_flood_of_new_keys_never_lifts_a_ban(self, algorithm):
        asked = counter(f"2/{LONG}", algorithm)
        other = counter(f"2/{LONG}", algorithm, "route:/other")
        counting = Counting(budget=self.BUDGET // 8)
        banned = [f"banned {number}" for number in range(100)]
        for key in banned:
            counting.admitted(asked, 3, key)
        for number in range(20_000):
            counting.take(asked, f"new {number}")
            if number % 100 == 0:
                counting.take(other, f"new {number}")
            if number == 10_000:
                counting.storage.keep([asked.table])
        assert not any(counting.passes(asked, key) for key in banned)

    def test_where_all_are_banned_new_keys_pass_without_being_counted(self, algorithm):
        asked = counter(f"1/{LONG}", algorithm)
        counting = Counting(budget=self.BUDGET // 8)
        for number in range(5_000):
            counting.admitted(asked, 2, f"banned {number}")
        assert counting.storage.cost < 1.5 * self.BUDGET // 8
        assert not counting.passes(asked, "banned 0")
        assert counting.admitted(asked, 5, "new") == 5

    def test_keys_that_are_over_make_room_for_new_ones(self, algorithm):
        asked = counter("5/s", algorithm)
        counting = Counting()
        for number in range(10_000):
            counting.take(asked, f"a{number}")
        counting.later(10)
        full = counting.storage.cost
        for number in range(10_000):
            counting.take(asked, f"b{number}")
        assert counting.storage.cost <= full * 1.01

    def test_of_many_keys_that_end_at_once_a_request_clears_but_a_few(self, algorithm):
        asked = counter("5/s", algorithm)
        counting = Counting()
        for number in range(10_000):
            counting.take(asked, f"{number:05}")
        before = counting.storage.cost
        counting.later(10)
        counting.take(asked, "aaaaa")
        each = before // 10_000
        assert before - 2 * each <= counting.storage.cost <= before


def test_cutting_what_is_over_gives_memory_back():
    counting = Counting()
    asked = counter("5000/10s", SLIDING)
    for _ in range(3):
        assert counting.admitted(asked, 5000) == 5000
        counting.later(10.001)
    assert counting.admitted(asked, 200) == 200
    assert counting.storage.cost < 2 * 5000 * 8


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("algorithm", [FIXED, SLIDING, BUCKET])
def test_a_child_that_was_forked_while_a_table_was_locked_counts_on(algorithm):
    storage = MemoryRateLimitStorage()
    asked = counter(f"2/{LONG}", algorithm)
    storage.take_one(asked, "a")
    held, release = threading.Event(), threading.Event()

    def hold():
        with storage._tables[asked.table].lock, storage._opening:
            held.set()
            release.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    child = os.fork()
    if not child:
        passed = [storage.take_one(asked, "a")[0] for _ in range(3)]
        opened = storage.take_one(counter(f"2/{LONG}", algorithm, "route:/new"), "a")[0]
        os._exit(0 if (passed, opened) == ([True, False, False], True) else 1)
    release.set()
    holder.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
