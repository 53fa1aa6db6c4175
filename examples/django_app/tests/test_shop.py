"""What customers can do, on whatever databases the settings name."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any

from django.test import SimpleTestCase
from shop import checkout, parts
from shop.goods import goods
from shop.values import Line, Order

if TYPE_CHECKING:
    from django.http import HttpResponse

LAMP = "lamps-03"


def setUpModule() -> None:
    """Put the goods on the shelves."""
    parts.catalogue.load(goods())


def an_order() -> Order:
    """An order that nobody has placed yet."""
    line = Line(sku=LAMP, name="Forties Lantern", price=7900, quantity=2)
    return Order(number=uuid.uuid4(), customer=uuid.uuid4(), lines=(line,))


class ShopTests(SimpleTestCase):
    """Each test is a new customer."""

    def post(self, path: str, **fields: Any) -> HttpResponse:
        """Send a form, and return the page that it leads to."""
        answer: HttpResponse = self.client.post(path, fields, follow=True)
        return answer

    def buy(self, *skus: str) -> tuple[str, str]:
        """Buy these, and return the number of the form, and where the order is shown."""
        for sku in skus:
            page = self.post(f"/cart/{sku}/")
        form = re.search(r'name="form" value="([0-9a-f-]+)"', page.content.decode())
        assert form is not None
        page = self.post("/buy/", form=form[1])
        self.assertContains(page, "Thank you")
        return form[1], page.redirect_chain[-1][0]

    def test_every_shelf_and_every_kind_of_page_is_there(self) -> None:
        """The pages that need nothing but goods."""
        self.assertContains(self.client.get("/"), "Open in any")
        for shelf in ("coats", "boots", "lamps", "ropes", "flasks", "tents", "compasses", "tools"):
            self.assertContains(self.client.get(f"/shelf/{shelf}/"), 'class="card"', count=30)
        self.assertContains(self.client.get(f"/product/{LAMP}/"), "Forties Lantern")
        self.assertContains(self.client.get("/cart/"), "It is empty")
        self.assertContains(self.client.get("/orders/"), "None yet")

    def test_what_is_not_there_is_not_found(self) -> None:
        """Addresses that somebody made up."""
        for path in ("/shelf/hats/", "/product/hats-01/", "/product/lamps/", f"/orders/{uuid.uuid4()}/", "/nowhere/"):
            assert self.client.get(path).status_code == 404, path
        assert self.post("/cart/hats-01/").status_code == 404
        assert self.post(f"/orders/{uuid.uuid4()}/pay/").status_code == 404

    def test_a_purchase_is_ordered_and_paid_and_empties_the_cart(self) -> None:
        """The whole way."""
        _, path = self.buy(LAMP, LAMP, "boots-07")
        page = self.client.get(path)
        self.assertContains(page, "The ledger has")
        self.assertContains(page, "Dogger Deck Boot")
        self.assertContains(self.client.get("/orders/"), "2 × Forties Lantern")  # noqa: RUF001
        self.assertContains(self.client.get("/cart/"), "It is empty")

    def test_the_same_form_twice_is_one_order_and_one_payment(self) -> None:
        """A button that is pressed twice, also with something else in the cart by then."""
        before = parts.ledger.takings()
        form, _ = self.buy(LAMP)
        self.post("/cart/boots-07/")
        self.assertContains(self.post("/buy/", form=form), "Forties Lantern")
        self.assertContains(self.client.get("/orders/"), 'class="state', count=1)
        self.assertContains(self.client.get("/cart/"), "Dogger Deck Boot")
        after = parts.ledger.takings()
        assert (after.payments - before.payments, after.balance) == (1, 0)

    def test_an_order_is_nobody_elses(self) -> None:
        """Another customer, who knows its number and the form's."""
        form, path = self.buy(LAMP)
        other = self.client_class()
        assert other.get(path).status_code == 404
        assert other.post(f"{path}pay/").status_code == 404
        other.post("/cart/boots-07/")
        theirs = other.post("/buy/", {"form": form}, follow=True)
        self.assertContains(theirs, "Dogger Deck Boot")
        assert theirs.redirect_chain[-1][0] != path
        self.assertContains(self.client.get(path), "Forties Lantern")

    def test_a_purchase_that_stopped_halfway_can_be_gone_on_with(self) -> None:
        """Ordered, and the ledger was not reached."""
        self.client.get("/cart/")
        customer = uuid.UUID(self.client.session["customer"])
        order = Order(number=uuid.uuid4(), customer=customer, lines=an_order().lines)
        parts.orders.place(order)
        self.assertContains(self.client.get("/orders/"), "to be paid")
        self.assertContains(self.client.get(f"/orders/{order.number}/"), "stopped before it was paid")
        self.assertContains(self.post(f"/orders/{order.number}/pay/"), "The ledger has 158.00 €")
        self.assertContains(self.post(f"/orders/{order.number}/pay/"), "The ledger has 158.00 €")

    def test_an_order_is_the_same_when_it_is_read_again(self) -> None:
        """What the database gives back is what it was given."""
        order = an_order()
        parts.orders.place(order)
        parts.orders.place(order)
        assert parts.orders.find(order.customer, order.number) == order
        assert parts.orders.of(order.customer) == [order]
        assert order in parts.orders.latest(1000)
        assert checkout.pay(order).is_paid
        found = parts.orders.find(order.customer, order.number)
        payment = parts.ledger.payment(order)
        assert found is not None
        assert found.is_paid
        assert payment is not None
        assert (payment.order, payment.amount) == (order.number, order.total)

    def test_the_cart_takes_what_can_be_counted(self) -> None:
        """How many of a thing, and what is no number of things."""
        self.post(f"/cart/{LAMP}/")
        self.assertContains(self.post(f"/cart/{LAMP}/", quantity="3"), "237.00 €")
        for wrong in ("-1", "100", "many", ""):
            self.assertContains(self.post(f"/cart/{LAMP}/", quantity=wrong), "A number from 0 to 99, please.")
        self.assertContains(self.client.get("/cart/"), "237.00 €")
        self.assertContains(self.post(f"/cart/{LAMP}/", quantity="0"), "It is empty")

    def test_a_form_that_was_tampered_with_buys_nothing(self) -> None:
        """Or that was sent with an empty cart."""
        self.post(f"/cart/{LAMP}/")
        for wrong in ("", "1", "0' OR 1=1", "x" * 5000):
            self.assertContains(self.post("/buy/", form=wrong), "Your cart")
        self.assertContains(self.client.get("/orders/"), "None yet")
        self.assertContains(self.client_class().post("/buy/", {"form": uuid.uuid4()}, follow=True), "nothing in your")

    def test_a_review_is_shown_as_text_and_once(self) -> None:
        """Sent twice, with what would be a program in a page."""
        form = {"id": str(uuid.uuid4()), "author": "Ada", "stars": "4", "text": f"<script>{uuid.uuid4()}</script>"}
        self.post("/product/ropes-02/review/", **form)
        page = self.post("/product/ropes-02/review/", **form).content.decode()
        assert page.count(form["text"].replace("<", "&lt;").replace(">", "&gt;")) == 1
        assert form["text"] not in page
        for wrong in ({"stars": "6"}, {"author": ""}, {"text": "x" * 2001}, {"id": "1"}):
            assert self.post("/product/ropes-02/review/", **form | wrong).status_code == 400
