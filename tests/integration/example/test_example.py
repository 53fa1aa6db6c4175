"""The examples as programs: each on one backend alone, their own tests, and how they end."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.integration.example.customers import Customer
from tests.integration.example.opening import RUN, marked, opened
from tests.integration.example.visitors import Visitor
from tests.integration.labs import until

if TYPE_CHECKING:
    from tests.integration.example.opening import Opened

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

SHOP = RUN.parent / "django_app"


def environment(shop: Opened) -> dict[str, str]:
    """What the settings of the Django shop read."""
    told = dict(os.environ)
    for cluster, lab in shop.labs.items():
        declared = lab.settings_for(cluster)["clusters"][cluster]
        told[f"{cluster.upper()}_NODES"] = ",".join(declared["nodes"])
        told[f"{cluster.upper()}_URL"] = declared.get("url", "")
    return told


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["mongodb", "postgresql", "cassandra"])
def test_one_backend_alone_is_a_whole_shop_and_its_own_tests_leave_it_as_it_is(tmp_path: Path, backend: str) -> None:
    with opened(tmp_path, "--backends", backend) as shop:
        (cluster,) = shop.labs
        customer = Customer(Visitor(shop.port))
        customer.buy_something()
        customer.write_review()
        customer.look_at_orders()
        assert customer.complaints == []
        assert len(customer.orders) == 1

        command = [sys.executable, "manage.py", "test", "--noinput"]
        own = subprocess.run(command, cwd=SHOP, env=environment(shop), capture_output=True, text=True, check=False)
        assert own.returncode == 0, own.stderr
        assert int(re.findall(r"Ran (\d+) tests", own.stderr)[0]) >= 14

        page = customer.visitor.get("/orders/")
        assert set(re.findall(r"/orders/([0-9a-f-]{36})/", page.text)) == set(customer.orders)
        assert "34.00 €" not in customer.visitor.get("/product/tools-05/").text  # the price that a test has set
        told = subprocess.run(
            [sys.executable, "manage.py", "undaunted", "status", "--json"],
            cwd=SHOP,
            env=environment(shop),
            capture_output=True,
            text=True,
            check=False,
        )
        assert told.returncode == 0, told.stderr
        assert f'"{cluster}"' in told.stdout


@pytest.mark.slow
def test_a_payment_is_seen_by_whoever_is_shown_the_order_as_paid(tmp_path: Path) -> None:
    """As the second press on the button is, or another browser: they have not paid themselves, so no cookie tells."""
    with opened(tmp_path, "--backends", "mongodb,postgresql") as shop:
        lab = shop.labs["ledger"]
        for standby in ("n2", "n3"):
            lab.lag(standby)
        customer = Customer(Visitor(shop.port))
        customer.buy_something()
        (number,) = customer.orders
        del customer.visitor.cookies["undaunted"]
        page = customer.visitor.get(f"/orders/{number}/")
        assert "Thank you" in page.text
        assert 'id="payment"' in page.text
        assert customer.complaints == []


@pytest.mark.slow
def test_the_flask_shop_sells_each_thing_once_while_its_primary_dies_and_the_next_one_freezes(tmp_path: Path) -> None:
    with opened(tmp_path, "--app", "flask") as shop:
        visitors = [Visitor(shop.port) for _ in range(6)]
        done = threading.Event()
        bought: list[str] = []

        def buy_on(visitor: Visitor) -> None:
            while not done.is_set():
                form = re.findall(r'action="(/buy/lamp/[0-9a-f-]+)"', visitor.get("/").text)
                if form:
                    for _ in range(2):  # the second press
                        visitor.post(form[0])
                    bought.append(form[0].rpartition("/")[2])

        threads = [threading.Thread(target=buy_on, args=(visitor,)) for visitor in visitors]
        for thread in threads:
            thread.start()
        try:
            until(lambda: len(bought) > 6, what="the first purchases")
            lab = shop.labs["orders"]
            for strike in (lab.kill, lab.freeze):
                strike("primary")
                before = len(bought)
                until(lambda before=before: len(bought) > before + 12, timeout_s=60, what="purchases after a failover")
                lab.heal()
        finally:
            done.set()
            for thread in threads:
                thread.join()
        assert [str(page) for each in visitors for page in each.pages if page.status not in {200, 303}] == []
        theirs = [set(re.findall(r'data-number="([0-9a-f-]+)"', visitor.get("/orders").text)) for visitor in visitors]
        assert set().union(*theirs) <= set(bought)
        with lab.client(uuidRepresentation="standard") as client:
            assert sorted(str(order["_id"]) for order in client.flask_shop.order.find()) == sorted(bought)
        assert f'id="sold-lamp">{len(bought)}<' in visitors[0].get("/").text


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_shop_that_is_closed_leaves_nothing_behind(tmp_path: Path, number: signal.Signals, status: int) -> None:
    with opened(tmp_path, "--app", "flask") as shop:
        # Itself, gunicorn with two workers, three servers and their guardian.
        until(lambda: len(marked(shop.mark)) >= 8, what="everything that belongs to the shop")
        shop.process.send_signal(number)
        assert shop.process.wait(60) == status, (tmp_path / "output").read_text()
        assert "Traceback" not in (tmp_path / "output").read_text()
        until(lambda: not marked(shop.mark), timeout_s=60, what="the end of all that belongs to the shop")


def test_a_shop_whose_web_server_is_killed_says_so_and_ends(tmp_path: Path) -> None:
    with opened(tmp_path, "--app", "flask") as shop:
        children = Path(f"/proc/{shop.process.pid}/task/{shop.process.pid}/children").read_text().split()
        (master,) = (int(pid) for pid in children if b"gunicorn" in Path(f"/proc/{pid}/cmdline").read_bytes())
        os.kill(master, signal.SIGKILL)
        assert shop.process.wait(60) == 2
        assert "gunicorn ended by itself" in (tmp_path / "output").read_text()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--backends", "oracle"], "'oracle' is none of cassandra, mongodb, postgresql"),
        (["--backends", "mongodb", "--name", "a/b"], "cannot be named 'a/b-orders'"),
        (["--app", "pyramid"], "invalid choice"),
        (["--port", "70000"], "from 0 to 65535"),
    ],
)
def test_what_cannot_work_is_said_in_a_sentence(options: list[str], says: str) -> None:
    done = subprocess.run([sys.executable, str(RUN), *options], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_somebody_has_is_said_before_anything_is_started() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        began_s = time.monotonic()
        done = subprocess.run(
            [sys.executable, str(RUN), "--port", port], capture_output=True, text=True, check=False, timeout=60
        )
    assert done.returncode == 2
    assert f"--port {port} cannot be used (Address already in use)" in done.stderr
    assert "Starting" not in done.stdout
    assert time.monotonic() - began_s < 30
