"""What ``make demo`` promises, on the real process."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.conftest import eventually
from tests.demo.conftest import PROJECT, ROOT, Shop, environment, free_port

pytestmark = pytest.mark.servers


def tiles(page: str) -> dict[str, str]:
    """Return the text of each tile by its route's key."""
    articles = re.findall(r'<article class="tile".*?</article>', page, re.DOTALL)
    texts = [html.unescape(re.sub(r"<[^>]+>", "", article)) for article in articles]
    keys = [re.search(r'name="key" value="([^"]+)"', article) for article in articles]
    return {key[1]: " ".join(text.split()) for key, text in zip(keys, texts, strict=True) if key}


class TestTheTerminal:
    def test_numbers_its_steps_and_tells_how_long_they_took(self, demo: Shop) -> None:
        steps = [line for line in demo.lines if re.match(r"\d  ", line)]
        assert [line.split()[:2] for line in steps] == [
            ["3", "database"],
            ["4", "admin"],
            ["5", "routes"],
            ["6", "daphne"],
        ]
        assert all(re.search(r" \d+\.\d s$", line) for line in steps)

    def test_names_the_addresses_the_login_and_four_commands(self, demo: Shop) -> None:
        said = "".join(demo.lines)
        assert f"Shop   http://127.0.0.1:{demo.port}/\n" in said
        assert f"Admin  http://127.0.0.1:{demo.port}/admin/   login admin / admin" in said
        assert [line.split()[1] for line in demo.lines if line.startswith("  ./shield ")] == [
            "maintenance",
            "status",
            "enable",
            "rl",
        ]

    def test_a_limit_set_there_holds_at_once_and_is_printed(self, demo: Shop) -> None:
        assert demo.get("/search/").headers["X-Ratelimit-Limit"] == "30"  # as daphne writes it
        demo.shield("rl", "set", "/products/{sku}/", "3/minute", "--actor", "ann@desk")
        eventually(lambda: demo.get("/products/teapot/").status == 429)
        demo.shield("rl", "delete", "/products/{sku}/", "--actor", "ann@desk")
        eventually(lambda: demo.get("/products/teapot/").status == 200)
        eventually(lambda: demo.changes()[-1] == "rate limit deleted /products/{sku}/ by ann@desk (cli)")
        assert "rate limit set /products/{sku}/ by ann@desk (cli)" in demo.changes()

    def test_prints_each_change_with_its_author_and_no_request(self, demo: Shop) -> None:
        before = len(demo.lines)
        demo.shield("maintenance", "GET:/payments/", "--reason", "New provider", "--actor", "ann@desk")
        eventually(lambda: demo.get("/payments/").status == 503)
        demo.shield("enable", "GET:/payments/", "--actor", "ann@desk")
        eventually(lambda: demo.get("/payments/").status == 200)
        eventually(lambda: len(demo.lines) >= before + 2)
        assert demo.changes()[-2:] == [
            "maintenance GET:/payments/ by ann@desk (cli)",
            "enable GET:/payments/ by ann@desk (cli)",
        ]
        assert len(demo.lines) == before + 2

    def test_names_the_person_when_nobody_is_named(self, demo: Shop) -> None:
        demo.shield("disable", "/search/")
        demo.shield("enable", "/search/")
        eventually(lambda: sum("/search/" in line for line in demo.changes()) == 2)
        assert re.fullmatch(r"enable /search/ by [^@ ]+@\S+ \(cli\)", demo.changes()[-1])


class TestTheFirstPage:
    def test_shows_a_tile_for_each_route_with_its_status_in_a_word(self, demo: Shop) -> None:
        shown = tiles(demo.get("/").body)
        assert len(shown) >= 12
        assert "Active" in shown["GET:/payments/"]
        assert "Always active" in shown["/health/"]
        assert "Deprecated" in shown["/archive/{year}/"]
        assert "Disabled Coupons were being guessed" in shown["/coupons/{code}/"]
        assert "Maintenance The figures are being computed again" in shown["/reports/sales/"]
        assert "Read-only" in shown["GET:/cart/"]
        assert "Maintenance Prices are being updated" in shown["POST:/cart/"]
        assert "Not found here" in shown["/debug/stock/"]
        assert not any(key.startswith("/admin/") for key in shown)

    def test_gives_each_status_a_shape_of_its_own(self, demo: Shop) -> None:
        pairs = re.findall(
            r'<p class="status">\s*<svg[^>]*>(.*?)</svg>\s*<strong>(.*?)</strong>',
            demo.get("/").body,
            re.DOTALL,
        )
        assert len({shape for shape, _ in pairs}) == len({word for _, word in pairs}) >= 6
        assert len(set(pairs)) == len({word for _, word in pairs})

    def test_counts_down_to_the_end_of_a_window_three_minutes_after_the_start(self, demo: Shop) -> None:
        tile = re.search(r'<article class="tile" id="warehouse">.*?</article>', demo.get("/").body, re.DOTALL)
        assert tile
        end = re.search(r'<time class="countdown" datetime="([^"]+)">until \d\d:\d\d:\d\d UTC<', tile[0])
        assert end
        left = datetime.fromisoformat(end[1]) - datetime.now(UTC)
        assert timedelta(minutes=1) < left < timedelta(minutes=3)
        assert 60 < int(demo.get("/warehouse/").headers["Retry-After"]) <= 180

    def test_shows_environment_revision_and_the_last_five_changes(self, demo: Shop) -> None:
        for command in ("disable", "enable", "disable", "enable"):
            demo.shield(command, "/search/", "--reason", f"the word {command}")
        page = demo.get("/").body
        assert re.search(r"<dt>Environment</dt><dd>production</dd>", page)
        assert re.search(r"<dt>Revision</dt><dd>[1-9]\d*</dd>", page)
        audit = re.search(r'<ol class="audit".*?</ol>', page, re.DOTALL)
        assert audit
        assert audit[0].count("<li>") == 5
        assert re.findall(r"<q>the word (\w+)</q>", audit[0]) == ["enable", "disable"] * 2

    def test_stays_open_under_global_maintenance_and_shows_it(self, demo: Shop) -> None:
        demo.shield("global", "enable", "--reason", "Moving house")
        try:
            eventually(lambda: demo.get("/orders/1/").status == 503)
            page = demo.get("/")
            assert page.status == 200
            assert "Maintenance Moving house" in tiles(page.body)["/orders/{pk}/"]
            assert re.search(r"<dt>Global maintenance</dt>\s*<dd>.*on: Moving house", page.body, re.DOTALL)
            assert demo.get("/admin/login/").status == 200
            assert demo.get("/static/admin/css/base.css").status == 200
        finally:
            demo.shield("global", "disable")
        eventually(lambda: demo.get("/orders/1/").status == 200)

    def test_loads_nothing_from_elsewhere_and_runs_no_inline_script(self, demo: Shop) -> None:
        page = demo.get("/")
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        assert "unsafe" not in page.headers["Content-Security-Policy"]
        assert not re.search(r'(?:src|href)="(?:https?:)?//', page.body)
        assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", page.body)
        for asset in re.findall(r'(?:src|href)="(/static/[^"]+)"', page.body):
            assert demo.get(asset).status == 200

    def test_is_not_sent_again_while_nothing_changes(self, demo: Shop) -> None:
        first = demo.get("/")
        assert demo.get("/", **{"If-None-Match": first.headers["ETag"]}).status == 304

    def test_without_javascript_a_form_leads_to_the_real_answer(self, demo: Shop) -> None:
        answer = demo.post("/board/send/", key="/coupons/{code}/")
        assert answer.status == 200
        said = html.unescape(answer.body)
        assert "HTTP 503 Service Unavailable" in said
        assert "Cache-Control: no-store" in said
        assert '"code": "ROUTE_DISABLED"' in said
        assert "HTTP 201 Created" in demo.post("/board/send/", key="POST:/api/orders/").body
        assert "HTTP 404 Not Found" in demo.post("/board/send/", key="/debug/stock/").body

    def test_asks_only_routes_of_the_shop(self, demo: Shop) -> None:
        assert demo.post("/board/send/", key="http://example.com/").status == 404
        assert demo.post("/board/send/", key="/admin/").status == 404


class TestItsLife:
    def test_a_busy_port_is_said_in_one_line(self, demo: Shop, data: Path) -> None:
        ran = subprocess.run(
            [sys.executable, "demo.py", "--port", str(demo.port)],
            cwd=PROJECT,
            env=environment(data),
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 1
        assert ran.stdout == ""
        assert ran.stderr.count("\n") == 1
        assert f"Port {demo.port} on 127.0.0.1" in ran.stderr

    @pytest.mark.parametrize(("launcher", "option"), [("demo.py", "--port"), ("fleet.py", "--shop-port")])
    def test_a_folder_that_cannot_be_written_to_is_said_in_one_line(self, launcher: str, option: str) -> None:
        ran = subprocess.run(
            [sys.executable, launcher, option, str(free_port())],
            cwd=PROJECT,
            env=environment(Path("/dev/null/data")),
            capture_output=True,
            text=True,
        )
        assert (ran.returncode, ran.stdout) == (1, "")
        assert ran.stderr == "Nothing can be written to /dev/null/data (Not a directory).\n"

    def test_ctrl_c_ends_quietly_and_a_second_run_continues(self, tmp_path: Path) -> None:
        first = Shop.demo(tmp_path)
        try:
            first.shield("disable", "/search/", "--reason", "kept")
            assert first.interrupt() == 0
        finally:
            first.close()
        assert not [line for line in first.lines if "Traceback" in line or "Error" in line]

        second = Shop.demo(tmp_path)
        try:
            assert "0 migrations applied" in "".join(second.lines)
            assert "admin is there already" in "".join(second.lines)
            assert "kept" in second.get("/search/?q=tea").body
        finally:
            second.close()

    def test_runs_under_a_wsgi_server_with_a_single_worker(self, demo: Shop, data: Path) -> None:
        port = free_port()
        command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "config.wsgi"]
        shop = Shop(command, port, data)
        try:
            eventually(lambda: any("Booting worker" in line for line in shop.lines))
            assert len(tiles(shop.get("/").body)) >= 12
            assert shop.get("/coupons/SPRING/").status == 503
            assert shop.get("/health/").status == 200
            assert shop.get("/static/admin/css/base.css").status == 200
            assert "Open /payments/ itself" in shop.post("/board/send/", key="GET:/payments/").body
        finally:
            shop.close()


def test_the_command_says_in_one_line_that_the_demo_was_never_started(tmp_path: Path) -> None:
    ran = subprocess.run(
        [str(ROOT / "shield"), "status"], cwd="/", env=environment(tmp_path), capture_output=True, text=True
    )
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert ran.stderr.count("\n") == 1
    assert "make demo" in ran.stderr
