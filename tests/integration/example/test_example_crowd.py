"""Sixteen customers of the Django shop for a minute, while nodes of all three clusters are killed and frozen."""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.example.customers import Customer, crowd
from tests.integration.example.opening import opened
from tests.integration.example.visitors import Page, Visitor

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.example.opening import Opened

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.cassandra, pytest.mark.timeout(420)]

CUSTOMERS = 16
SECONDS = 60.0
DEADLINE_S = 12.0
"""Of a request, in the shop's settings."""
OVER_S = 2.0
"""What a page may take beside its deadline: two busy cores serve sixteen customers and nine nodes."""


def strike(lab: Any, *, kill: str, freeze: str, after_s: float, complaints: list[str]) -> None:
    """Kill a node, mend it, freeze another and mend that, each time for long enough to be missed."""
    try:
        time.sleep(after_s)
        lab.kill(kill)
        time.sleep(8)
        lab.heal()
        time.sleep(4)
        lab.freeze(freeze)
        time.sleep(8)
        lab.heal()
    except Exception as error:
        complaints.append(f"{lab.name}: {error!r}")


def test_no_page_fails_and_no_order_is_lost_or_doubled_while_nodes_of_all_clusters_fail(tmp_path: Path) -> None:
    with opened(tmp_path) as shop:
        customers = [Customer(Visitor(shop.port)) for _ in range(CUSTOMERS)]
        walking = crowd(customers, seconds=SECONDS)
        complaints: list[str] = []
        plan = [
            ("orders", "primary", "primary", 3.0),
            ("ledger", "primary", "primary", 7.0),
            ("catalogue", "n2", "n3", 11.0),
        ]
        striking = [
            threading.Thread(
                target=strike,
                args=(shop.labs[cluster],),
                kwargs={"kill": kill, "freeze": freeze, "after_s": after_s, "complaints": complaints},
            )
            for cluster, kill, freeze, after_s in plan
        ]
        for thread in striking:
            thread.start()
        for thread in [*walking, *striking]:
            thread.join()
        for lab in shop.labs.values():
            lab.wait_healthy()
        pages = [page for customer in customers for page in customer.visitor.pages]
        print(summary(pages, customers))
        wrong = [complaint for customer in customers for complaint in customer.complaints]
        print(*wrong, sep="\n")  # also where the databases are what fails
        assert not complaints
        assert [str(page) for page in pages if page.status >= 500 or page.status == 0] == []
        acknowledged = {number: total for customer in customers for number, total in customer.orders.items()}
        assert orders_in(shop) == acknowledged
        assert payments_in(shop) == acknowledged
        assert takings_of(shop) == (len(acknowledged), sum(acknowledged.values()), 0)
        assert wrong == []  # behind the databases, so that a page that missed something is told from something lost
        slowest_s = max(page.took_s for page in pages)
        assert 1.0 < slowest_s < DEADLINE_S + OVER_S  # a killed primary is felt: the faults were real
        assert min(len(customer.orders) for customer in customers) >= 3


def orders_in(shop: Opened) -> dict[str, int]:
    """Every order that MongoDB has, with its total; all of them paid."""
    with shop.labs["orders"].client(uuidRepresentation="standard") as client:
        found = list(client.shop.order.find())
        assert client.shop.cart.count_documents({"quantities": {"$ne": {}}}) == 0
    assert all(order["is_paid"] for order in found)
    return {str(order["_id"]): sum(line["price"] * line["quantity"] for line in order["lines"]) for order in found}


def payments_in(shop: Opened) -> dict[str, int]:
    """Every payment that PostgreSQL has, with its amount; each with its two sides, whose sum is nothing."""
    with shop.labs["ledger"].operator("primary", dbname="lab") as connection:
        entries = connection.execute('SELECT "order"::text, account, amount FROM entry').fetchall()
    assert sum(amount for _, _, amount in entries) == 0
    taken = {order: amount for order, account, amount in entries if account == "till"}
    assert len(entries) == 2 * len(taken)
    return taken


def takings_of(shop: Opened) -> tuple[int, int, int]:
    """What the office says: payments, amount, and the sum of all entries."""
    keeper = Visitor(shop.port)
    keeper.get("/office/login/")
    page = keeper.post("/office/login/", username="keeper", password=shop.password, next="/office/")
    figures = [re.search(rf'id="{name}">([-\d,.]+)', page.text) for name in ("payments", "amount", "balance")]
    assert all(figures), page
    payments, amount, balance = (float(figure[1].replace(",", "")) for figure in figures if figure)
    return int(payments), round(amount * 100), round(balance * 100)


def summary(pages: list[Page], customers: list[Customer]) -> str:
    """The run in two lines."""
    slow = sorted(pages, key=lambda page: page.took_s)[-5:]
    bought = sum(len(customer.orders) for customer in customers)
    return f"{len(pages)} pages, {bought} orders; slowest: " + "; ".join(map(str, slow))
