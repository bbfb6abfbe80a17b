"""Counters that a restart takes up again, and hits that other processes see."""

import json
import os
import stat
import subprocess
import sys
import textwrap
import threading
from datetime import UTC, datetime, timedelta

import pytest

from shield_core.backends.file import FileBackend
from shield_core.keys import RouteKey
from shield_core.models import RateLimitHit
from shield_core.rate_limit.hits import KEPT, HitQuery
from shield_core.rate_limit.storage.file import FileRateLimitStorage
from tests.rate_limit.counting import ALL, FIXED, SLIDING, Clock, counter, wait_until

LONG = "366d"


class Host:
    """One machine: its wall clock, and a monotonic one that every boot sets anew."""

    def __init__(self, folder):
        self.path = folder / "shield-state.limits.json"
        self.wall = Clock(1_800_000_000.0)
        self.since_boot = Clock()
        self.opened = []

    def open(self, **options):
        storage = FileRateLimitStorage(
            self.path, **{"interval": 3600, "clock": self.since_boot, "wall_clock": self.wall, **options}
        )
        self.opened.append(storage)
        return storage

    def later(self, seconds):
        self.wall.now += seconds
        self.since_boot.now += seconds

    def reboot(self):
        self.since_boot.now = 3.0


@pytest.fixture
def host(tmp_path):
    host = Host(tmp_path)
    yield host
    for storage in host.opened:
        storage.stop()


def admitted(storage, asked, requests, key="a"):
    return sum(storage.take_one(asked, key)[0] for _ in range(requests))


@pytest.mark.parametrize("algorithm", ALL)
class TestRestart:
    def test_counts_go_on(self, host, algorithm):
        asked = counter(f"5/{LONG}", algorithm)
        before = host.open()
        admitted(before, asked, 3)
        before.stop()
        assert admitted(host.open(), asked, 9) == 2

    def test_a_ban_holds_after_a_reboot_and_ends_when_it_would_have(self, host, algorithm):
        asked = counter("3/minute", algorithm)
        before = host.open()
        host.later(7)
        admitted(before, asked, 3)
        retry_after = before.take_one(asked, "a")[3]
        before.stop()
        host.reboot()
        host.later(retry_after - 0.5)
        after = host.open()
        assert not after.take_one(asked, "a")[0]
        host.later(0.51)
        assert after.take_one(asked, "a")[0]

    def test_a_wall_clock_that_went_back_makes_no_ban_longer(self, host, algorithm):
        asked = counter("3/minute", algorithm)
        before = host.open()
        admitted(before, asked, 4)
        before.stop()
        host.reboot()
        host.wall.now -= 86400 * 365
        after = host.open()
        assert not after.take_one(asked, "a")[0]
        host.later(60.1)
        assert after.take_one(asked, "a")[0]

    def test_what_is_over_is_not_taken_up(self, host, algorithm):
        asked = counter("3/minute", algorithm)
        before = host.open()
        admitted(before, asked, 4)
        before.stop()
        host.later(61)
        after = host.open()
        assert admitted(after, asked, 9) == 3

    def test_stop_and_go_on_in_one_process(self, host, algorithm):
        asked = counter(f"5/{LONG}", algorithm)
        storage = host.open()
        admitted(storage, asked, 2)
        storage.stop()
        assert admitted(storage, asked, 2) == 2
        storage.stop()
        assert admitted(host.open(), asked, 9) == 1


class TestSaving:
    def test_nothing_is_opened_before_the_first_request(self, host):
        host.open()
        assert list(host.path.parent.iterdir()) == []

    def test_happens_by_itself(self, host):
        storage = host.open(interval=0.01)
        admitted(storage, counter(f"5/{LONG}"), 1)
        wait_until(host.path.exists)

    def test_the_file_is_for_its_owner_alone(self, host):
        storage = host.open()
        admitted(storage, counter(f"5/{LONG}"), 1)
        storage.save()
        assert stat.S_IMODE(host.path.stat().st_mode) == 0o600

    def test_leaves_nothing_else_behind(self, host):
        storage = host.open()
        admitted(storage, counter(f"5/{LONG}"), 1)
        storage.stop()
        assert {path.name for path in host.path.parent.iterdir()} == {
            host.path.name,
            host.path.name + ".lock",
        }

    def test_what_is_over_is_not_saved_and_then_nothing_is_written_any_more(self, host):
        storage = host.open()
        admitted(storage, counter("5/minute"), 1)
        storage.save()
        host.later(61)
        storage.save()
        assert "minute" not in host.path.read_text()
        written = host.path.stat().st_mtime_ns
        storage.save()
        assert host.path.stat().st_mtime_ns == written

    def test_a_folder_that_cannot_be_written_is_reported_once_and_counting_goes_on(self, host, caplog):
        host.path = host.path.parent / "missing" / "limits.json"
        storage = host.open()
        assert admitted(storage, counter(f"2/{LONG}"), 9) == 2
        storage.save()
        storage.save()
        assert len(caplog.records) == 1
        assert "not saved" in caplog.text

    def test_a_failure_is_reported_once_until_it_works_again(self, host, caplog):
        storage = host.open()
        admitted(storage, counter(f"2/{LONG}"), 1)
        host.path.mkdir()
        storage.save()
        storage.save()
        assert len(caplog.records) == 1
        host.path.rmdir()
        storage.save()
        assert host.path.is_file()

    def test_requests_meanwhile_are_counted(self, host):
        storage = host.open()
        asked = counter(f"1000000/{LONG}", SLIDING)
        for number in range(2000):
            storage.take_one(asked, str(number))
        done = threading.Event()

        def request():
            number = 0
            while not done.is_set():
                storage.take_one(asked, f"new {number % 5000}")
                number += 1

        requests = threading.Thread(target=request)
        requests.start()
        for _ in range(20):
            storage.save()
        done.set()
        requests.join()
        storage.stop()
        assert host.open().take_one(asked, "1999")[1] == 1_000_000 - 2


class TestForeignFile:
    CONTENTS = {
        "empty": b"",
        "no JSON": b"what is this?\nreally\n",
        "binary": b"\xff\xfe\x00\x01" * 100,
        "another program's": b'{"users": []}\n{"more": 1}\n',
        "a later version's": b'{"shield_limits": 2, "saved_at": 1}\n{"sha256": ""}\n',
        "a list": b"[]\n[]\n",
    }

    @pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
    def test_is_reported_once_set_aside_and_kept(self, host, caplog, content):
        host.path.write_bytes(content)
        storage = host.open()
        assert admitted(storage, counter(f"2/{LONG}"), 9) == 2
        storage.stop()
        (record,) = caplog.records
        assert str(host.path) in record.getMessage()
        (aside,) = host.path.parent.glob("*.refused-*")
        assert aside.read_bytes() == content
        assert admitted(host.open(), counter(f"2/{LONG}"), 9) == 0

    def test_a_damaged_one_is_refused(self, host, caplog):
        storage = host.open()
        admitted(storage, counter(f"2/{LONG}"), 2)
        storage.stop()
        host.path.write_text(host.path.read_text().replace('"a"', '"b"'))
        assert admitted(host.open(), counter(f"2/{LONG}"), 9) == 2
        assert "checksum" in caplog.text

    def test_one_that_cannot_be_read_or_moved_is_left_alone(self, host, caplog):
        host.path.mkdir()
        (host.path / "something").write_text("of somebody")
        storage = host.open()
        assert admitted(storage, counter(f"2/{LONG}"), 9) == 2
        storage.stop()
        found = list(host.path.parent.rglob("something"))
        assert [path.read_text() for path in found] == ["of somebody"]


class TestWorkers:
    def test_no_worker_overwrites_what_another_has_saved(self, host):
        asked = counter(f"5/{LONG}")
        workers = [host.open() for _ in range(3)]
        for number, worker in enumerate(workers):
            admitted(worker, asked, 5, key=f"of worker {number}")
        for worker in workers:
            worker.stop()
        after = [host.open() for _ in range(3)]
        lifted = [
            [admitted(worker, asked, 5, key=f"of worker {number}") for worker in after] for number in range(3)
        ]
        assert [sum(passed == 0 for passed in row) for row in lifted] == [1, 1, 1]

    def test_a_file_whose_process_was_killed_is_taken_up(self, host):
        program = f"""
            import os
            from tests.rate_limit.counting import counter
            from shield_core.rate_limit.storage.file import FileRateLimitStorage
            storage = FileRateLimitStorage({str(host.path)!r})
            for _ in range(2):
                storage.take_one(counter("2/{LONG}"), "a")
            storage.save()
            os.kill(os.getpid(), 9)
        """
        killed = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False)
        assert killed.returncode == -9
        after = FileRateLimitStorage(host.path)
        host.opened.append(after)
        assert admitted(after, counter(f"2/{LONG}"), 9) == 0

    def test_a_process_that_ends_saves_without_being_asked(self, host):
        program = f"""
            from tests.rate_limit.counting import counter
            from shield_core.rate_limit.storage.file import FileRateLimitStorage
            storage = FileRateLimitStorage({str(host.path)!r})
            storage.take_one(counter("1/{LONG}"), "a")
        """
        subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True)
        after = FileRateLimitStorage(host.path)
        host.opened.append(after)
        assert admitted(after, counter(f"1/{LONG}"), 9) == 0

    def test_a_forked_child_counts_on_and_saves_to_a_file_of_its_own(self, tmp_path):
        program = f"""
            import os, sys, warnings
            warnings.simplefilter("ignore")
            from tests.rate_limit.counting import counter
            from shield_core.rate_limit.storage.file import FileRateLimitStorage
            storage = FileRateLimitStorage({str(tmp_path / "limits.json")!r})
            asked = counter("3/{LONG}")
            storage.take_one(asked, "a")
            child = os.fork()
            passed = sum(storage.take_one(asked, "a")[0] for _ in range(9))
            if not child:
                storage.stop()
                os._exit(0 if passed == 2 else 1)
            assert os.waitpid(child, 0)[1] == 0
            storage.stop()
            assert passed == 2
        """
        subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True)
        assert {path.name for path in tmp_path.glob("*.json")} == {"limits.json", "limits.1.json"}


class TestFileBackend:
    def test_its_counters_stand_beside_the_state(self, tmp_path):
        storage = FileBackend(tmp_path / "shield-state.json").rate_limit_storage()
        try:
            admitted(storage, counter(f"5/{LONG}", FIXED), 1)
            storage.save()
            assert (tmp_path / "shield-state.limits.json").exists()
        finally:
            storage.stop()

    def test_hits_are_seen_by_other_processes_newest_first(self, tmp_path):
        one, other = (FileBackend(tmp_path / "shield-state.json") for _ in range(2))
        one.write_hits_sync([hit(1), hit(2)])
        other.write_hits_sync([hit(3)])
        assert [found.key for found in one.read_hits_sync(HitQuery())] == ["3", "2", "1"]
        assert one.read_hits_sync(HitQuery(limit=1)) == other.read_hits_sync(HitQuery(limit=1))

    def test_hits_are_chosen_by_route(self, tmp_path):
        backend = FileBackend(tmp_path / "shield-state.json")
        backend.write_hits_sync(
            [hit(1, path="/pay"), hit(2, path="/payments"), hit(3, path="/pay", method="PUT")]
        )
        for key, found in {"/pay": ["3", "1"], "GET:/pay": ["1"], "/payments": ["2"], "/pa": []}.items():
            asked = HitQuery(RouteKey.parse(key))
            assert [one.key for one in backend.read_hits_sync(asked)] == found

    def test_of_very_many_hits_the_newest_are_kept(self, tmp_path):
        backend = FileBackend(tmp_path / "shield-state.json")
        batch = 1000
        for start in range(0, 3 * KEPT, batch):
            backend.write_hits_sync([hit(number) for number in range(start, start + batch)])
        found = backend.read_hits_sync(HitQuery(limit=None))
        assert [one.key for one in found] == [str(3 * KEPT - 1 - back) for back in range(KEPT)]
        assert sum(path.stat().st_size for path in tmp_path.glob("*.hits*")) < 2.2 * KEPT * 800

    def test_a_torn_line_costs_no_other_hit(self, tmp_path):
        backend = FileBackend(tmp_path / "shield-state.json")
        backend.write_hits_sync([hit(1)])
        with open(tmp_path / "shield-state.hits.jsonl", "a") as file:
            file.write('\n{"id": "torn')
        backend.write_hits_sync([hit(2)])
        assert [found.key for found in backend.read_hits_sync(HitQuery())] == ["2", "1"]

    def test_hits_are_not_written_into_the_state(self, tmp_path):
        backend = FileBackend(tmp_path / "shield-state.json")
        backend.write_hits_sync([hit(1)])
        assert not (tmp_path / "shield-state.json").exists()

    def test_hits_are_readable_as_the_state_is(self, tmp_path):
        state = tmp_path / "shield-state.json"
        FileBackend(state).write_hits_sync([hit(1)])
        hits = tmp_path / "shield-state.hits.jsonl"
        assert stat.S_IMODE(hits.stat().st_mode) == 0o600
        hits.unlink()
        state.write_text(json.dumps({"states": {}, "audit": []}))
        os.chmod(state, 0o664)
        FileBackend(state).write_hits_sync([hit(1)])
        assert stat.S_IMODE(hits.stat().st_mode) == 0o664


def hit(number, path="/pay", method="GET"):
    moment = datetime(2027, 1, 1, tzinfo=UTC) + timedelta(seconds=number)
    return RateLimitHit(
        timestamp=moment, path=path, method=method, key=str(number), limit="1/minute", reset_at=moment
    )
