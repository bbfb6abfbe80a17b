"""What each algorithm lets through, and what it says of a request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield_core.models import GlobalRateLimitPolicy
from tests.rate_limit.counting import ALL, BUCKET, FIXED, SLIDING, Counting, counter


@pytest.fixture
def counting():
    return Counting()


@pytest.mark.parametrize("algorithm", ALL)
class TestEveryAlgorithm:
    def test_admits_the_limit_and_no_more(self, counting, algorithm):
        assert counting.admitted(counter("5/minute", algorithm), 20) == 5

    def test_a_burst_raises_the_capacity(self, counting, algorithm):
        assert counting.admitted(counter("5/minute", algorithm, burst=3), 20) == 8

    def test_counts_each_key_by_itself(self, counting, algorithm):
        asked = counter("1/minute", algorithm)
        assert counting.passes(asked, "a")
        assert counting.passes(asked, "b")
        assert not counting.passes(asked, "a")

    def test_remaining_goes_down_to_zero(self, counting, algorithm):
        asked = counter("3/minute", algorithm)
        assert [counting.take(asked)[1] for _ in range(4)] == [2, 1, 0, 0]

    def test_after_retry_after_there_is_room_and_not_before(self, counting, algorithm):
        asked = counter("3/minute", algorithm)
        counting.later(7)
        counting.admitted(asked, 3)
        counting.later(11)
        retry_after = counting.take(asked)[3]
        counting.later(retry_after - 0.001)
        assert not counting.passes(asked)
        counting.later(0.002)
        assert counting.passes(asked)

    def test_after_reset_after_all_of_the_capacity_is_there(self, counting, algorithm):
        asked = counter("3/minute", algorithm)
        counting.later(7)
        counting.admitted(asked, 2)
        counting.later(counting.take(asked)[2] + 0.001)
        assert counting.admitted(asked, 5) == 3

    def test_denied_requests_are_not_charged(self, counting, algorithm):
        asked = counter("2/minute", algorithm)
        counting.admitted(asked, 100)
        counting.later(60.001)
        assert counting.admitted(asked, 100) == 2

    def test_many_requests_at_a_high_rate_all_pass(self, counting, algorithm):
        asked = counter("10000/s", algorithm)
        for _ in range(20_000):
            assert counting.passes(asked)
            counting.later(0.0001)

    @given(
        steps=st.lists(st.tuples(st.floats(0, 40), st.integers(1, 4)), max_size=40),
        limit=st.integers(1, 5),
        burst=st.integers(0, 3),
    )
    def test_never_exceeds_its_worst_case(self, algorithm, steps, limit, burst):
        """As documented: fixed window 2 x capacity, token bucket capacity + limit, sliding the capacity."""
        counting, admitted = Counting(), []
        asked = counter(f"{limit}/10s", algorithm, burst=burst)
        worst = {
            FIXED: 2 * asked.capacity,
            SLIDING: asked.capacity,
            BUCKET: asked.capacity + limit,
        }[algorithm]
        for seconds, requests in steps:
            counting.later(seconds)
            admitted += [counting.clock.now] * counting.admitted(asked, requests)
        for end in admitted:
            assert sum(end - 10 < moment <= end for moment in admitted) <= worst


class TestFixedWindow:
    def test_twice_the_capacity_passes_around_a_boundary(self, counting):
        asked = counter("5/minute", burst=1)
        counting.later(59.9)
        assert counting.admitted(asked, 20) == 6
        counting.later(0.2)
        assert counting.admitted(asked, 20) == 6

    def test_windows_begin_with_the_clocks(self, counting):
        asked = counter("5/minute")
        counting.later(50)
        assert counting.take(asked)[2] == pytest.approx(10)

    def test_a_longer_window_keeps_the_count_of_the_running_one(self, counting):
        counting.later(10)
        counting.admitted(counter("3/minute"), 3)
        assert not counting.passes(counter("3/hour"))

    def test_a_shorter_window_keeps_the_count_until_its_own_end(self, counting):
        counting.later(10)
        counting.admitted(counter("3/hour"), 3)
        shorter = counter("3/minute")
        allowed, _, _, retry_after = counting.take(shorter)
        assert not allowed
        assert retry_after == pytest.approx(50)
        counting.later(50.001)
        assert counting.passes(shorter)


class TestTokenBucket:
    def test_capacity_and_limit_pass_in_one_period(self, counting):
        asked = counter("10/10s", BUCKET, burst=5)
        passed = counting.admitted(asked, 100)
        for _ in range(10):
            counting.later(1)
            passed += counting.admitted(asked, 100)
        assert passed == 15 + 10

    def test_room_comes_back_steadily(self, counting):
        asked = counter("10/10s", BUCKET)
        counting.admitted(asked, 10)
        for _ in range(30):
            counting.later(1)
            assert counting.admitted(asked, 3) == 1

    def test_a_higher_rate_frees_a_caller_at_its_own_pace(self, counting):
        counting.admitted(counter("1/day", BUCKET), 1)
        faster = counter("10/10s", BUCKET)
        assert not counting.passes(faster)
        counting.later(1.001)
        assert counting.passes(faster)

    def test_a_lower_rate_keeps_what_was_counted(self, counting):
        counting.admitted(counter("100/minute", BUCKET), 100)
        assert not counting.passes(counter("10/minute", BUCKET))


class TestSlidingWindow:
    def test_each_request_makes_room_a_period_later(self, counting):
        asked = counter("3/10s", SLIDING)
        for _ in range(3):
            assert counting.passes(asked)
            counting.later(2)
        assert counting.take(asked)[3] == pytest.approx(4)
        counting.later(4)
        assert counting.admitted(asked, 5) == 1

    def test_moving_window_is_another_name_for_it(self):
        policy = GlobalRateLimitPolicy(limit="1/s", algorithm="moving_window")
        assert policy.algorithm is SLIDING

    def test_a_limit_that_was_lowered_for_a_while_forgets_nothing(self, counting):
        counting.admitted(counter("10/minute", SLIDING), 10)
        counting.later(1)
        assert not counting.passes(counter("2/minute", SLIDING))
        assert not counting.passes(counter("10/minute", SLIDING))
        assert counting.admitted(counter("15/minute", SLIDING), 10) == 5

    def test_a_longer_period_counts_what_is_known(self, counting):
        counting.admitted(counter("10/10s", SLIDING), 10)
        counting.later(9)
        assert not counting.passes(counter("10/minute", SLIDING))
        counting.later(50)
        assert not counting.passes(counter("10/minute", SLIDING))
        counting.later(1.001)
        assert counting.passes(counter("10/minute", SLIDING))

    def test_a_longer_period_that_is_set_where_a_log_is_cut_counts_what_is_known(self, counting):
        shorter = counter("15/s", SLIDING)
        assert counting.admitted(shorter, 15) == 15
        counting.later(1.5)
        assert counting.passes(shorter)
        assert counting.admitted(counter("20/10s", SLIDING), 10) == 20 - 16

    def test_a_long_log_stays_exact(self, counting):
        asked = counter("1000/10s", SLIDING)
        passed = []
        for step in range(6000):
            if counting.passes(asked):
                passed.append(counting.clock.now)
            counting.later(0.004 if step % 50 else 0.3)
        for index in range(1000, len(passed)):
            assert passed[index] - passed[index - 1000] >= 10

    @given(
        steps=st.lists(
            st.one_of(
                st.tuples(
                    st.just("move"),
                    st.sampled_from([0.0, 0.5, 3.0, 9.99, 10.0, 10.01, 60.0, -0.5, -7.0, -100.0]),
                ),
                st.tuples(st.just("take"), st.integers(1, 12)),
                st.tuples(st.just("refund"), st.integers(1, 5)),
                st.tuples(st.just("limit"), st.tuples(st.integers(1, 8), st.sampled_from([1, 5, 10, 60]))),
            ),
            max_size=60,
        )
    )
    def test_no_window_ever_has_more_than_the_capacity(self, steps):
        """Whatever the clock does, limits are set to, and other layers give back.

        After a longer period was set, what the former one had already forgotten is not known.
        """
        counting = Counting()
        full = counter("1/366d", name="route:full")
        counting.take(full)
        admitted: list[float] = []
        capacity, seconds, newest = 3, 10, 0.0
        for step, value in steps:
            asked = counter(f"{capacity}/{seconds}s", SLIDING, name="global:")
            match step:
                case "move":
                    counting.later(value)
                case "limit":
                    if value[1] > seconds:
                        admitted = [moment for moment in admitted if moment > newest - seconds]
                    capacity, seconds = value
                case "refund":
                    for _ in range(value):
                        assert not counting.storage.take([asked, full], ["a", "a"])[1][0]
                case "take":
                    for _ in range(value):
                        now = counting.clock.now
                        if counting.passes(asked):
                            # A clock that goes back stands still for a key.
                            newest = max(newest, now)
                            admitted.append(newest)
                            in_window = [moment for moment in admitted if moment > newest - seconds]
                            assert len(in_window) <= capacity
