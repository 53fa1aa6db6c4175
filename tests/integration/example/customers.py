"""Customers of the Django shop: they look around, buy, come back to their orders, and write down what was wrong."""

from __future__ import annotations

import copy
import random
import re
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.integration.example.visitors import Page, Visitor

__all__ = ["SHELVES", "Customer", "crowd"]

SHELVES = ("coats", "boots", "lamps", "ropes", "flasks", "tents", "compasses", "tools")
THANKED = re.compile(r"Order <code>([0-9a-f-]+)</code>.*?Total</th><td[^>]*>([\d,.]+) €", re.DOTALL)
SHOWN = 100  # orders on the page of all orders


@dataclass(slots=True)
class Customer:
    """One customer.

    Attributes:
        visitor: Who asks for the pages.
        orders: The number of each order that the shop has thanked for, and its total in cents.
        complaints: What was not as it should be.
    """

    visitor: Visitor
    orders: dict[str, int] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    chance: random.Random = field(default_factory=random.Random)

    def run(self, until_s: float) -> None:
        """Go shopping until then, with a moment's thought between two purchases."""
        turn = 0
        while time.monotonic() < until_s:
            turn += 1
            self.buy_something()
            if turn % 3 == 0:
                self.look_at_orders()
            if turn % 4 == 0:
                self.write_review()
            time.sleep(self.chance.uniform(0.1, 0.5))

    def buy_something(self) -> None:
        """From the shelf to the page that says thank you; every third time with a second press on the button."""
        sku = self._choose()
        if sku is None:
            return
        cart = self._see(self.visitor.post(f"/cart/{sku}/"), "Your cart", sku)
        form = re.search(r'name="form" value="([0-9a-f-]+)"', cart.text)
        if form is None:
            self.complaints.append(f"{cart}: nothing to buy there")
            return
        presses = [self.visitor]
        if self.chance.random() < 0.3:
            presses.append(copy.copy(self.visitor))
        answers = _all_at_once(presses, form[1])
        thanked: set[tuple[str, str]] = set()
        for answer in answers:
            self._see(answer, "Thank you", 'id="payment"')
            thanked |= set(
                re.findall(r"Order <code>([0-9a-f-]+)</code>.*?Total</th><td[^>]*>([\d,.]+) €", answer.text, re.DOTALL)
            )
        if len(thanked) == 1:
            ((number, total),) = thanked
            self.orders[number] = round(float(total.replace(",", "")) * 100)
        else:
            self.complaints.append(f"{answers[0]}: one purchase is the orders {sorted(thanked)}")

    def look_at_orders(self) -> None:
        """All that was thanked for must be there, and paid."""
        page = self._see(self.visitor.get("/orders/"), "Your orders")
        there = set(re.findall(r"/orders/([0-9a-f-]{36})/", page.text))
        missing = set(self.orders) - there if len(self.orders) <= SHOWN else set()
        if page.status == 200 and missing:
            self.complaints.append(f"{page}: without {len(missing)} of {len(self.orders)} orders")
        if "to be paid" in page.text:
            self.complaints.append(f"{page}: an order that was thanked for is to be paid")

    def write_review(self) -> None:
        """What was written must be on the page that comes next."""
        sku, text = self._choose(), f"As good as {uuid.uuid4()}"
        if sku is not None:
            fields = {"id": str(uuid.uuid4()), "author": "Somebody", "stars": "4", "text": text}
            self._see(self.visitor.post(f"/product/{sku}/review/", **fields), text)

    def _choose(self) -> str | None:
        """Walk along a shelf and look at one thing."""
        page = self._see(self.visitor.get(f"/shelf/{self.chance.choice(SHELVES)}/"), "/product/")
        there = re.findall(r"/product/([a-z]+-\d\d)/", page.text)
        if not there:
            return None
        sku = self.chance.choice(there)
        self._see(self.visitor.get(f"/product/{sku}/"), "Put into the cart")
        return sku

    def _see(self, page: Page, *words: str) -> Page:
        missing = [word for word in words if word not in page.text]
        if page.status != 200 or missing:
            self.complaints.append(f"{page}: without {missing}")
        return page


def _all_at_once(presses: list[Visitor], form: str) -> list[Page]:
    answers: list[Page] = []
    threads = [
        threading.Thread(target=lambda each=each: answers.append(each.post("/buy/", form=form))) for each in presses
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def crowd(customers: list[Customer], *, seconds: float) -> list[threading.Thread]:
    """Let them all in; returns the threads in which they walk about."""
    until_s = time.monotonic() + seconds
    threads = [threading.Thread(target=customer.run, args=(until_s,)) for customer in customers]
    for thread in threads:
        thread.start()
    return threads
