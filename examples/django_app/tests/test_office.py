"""What only the people of the shop can do, and see."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.test import TestCase
from shop import parts
from shop.goods import goods
from shop.values import Product


def setUpModule() -> None:
    """Put the goods on the shelves."""
    parts.catalogue.load(goods())


class OfficeTests(TestCase):
    """With one of the staff, and one who is none."""

    def setUp(self) -> None:
        """Make both."""
        self.keeper = User.objects.create_user("keeper", password="secret", is_staff=True)  # noqa: S106  # for this test
        self.guest = User.objects.create_user("guest", password="secret")  # noqa: S106

    def test_strangers_and_guests_are_sent_to_the_login(self) -> None:
        """Who is not of the staff."""
        for path in ("/office/", "/office/price/"):
            assert self.client.post(path).status_code in (302, 405)
        self.assertRedirects(self.client.get("/office/"), "/office/login/?next=/office/")
        self.client.force_login(self.guest)
        self.assertContains(self.client.get("/office/", follow=True), "You are none of them")

    def test_a_login_with_a_password(self) -> None:
        """The wrong one, and the right one."""
        form = {"username": "keeper", "password": "wrong"}
        self.assertContains(self.client.post("/office/login/", form), "correct username and password")
        form["password"] = "secret"  # noqa: S105
        self.assertContains(self.client.post("/office/login/", form, follow=True), "In the till")

    def test_the_staff_see_the_takings_and_change_a_price(self) -> None:
        """What the office is for."""
        self.client.force_login(self.keeper)
        self.assertContains(self.client.get("/office/"), 'id="balance">0.00 €')
        page = self.client.post("/office/price/", {"sku": "tools-05", "price": "12.34"}, follow=True)
        self.assertContains(page, "Forth Hatchet has a new price.")
        assert parts.catalogue.product("tools-05") == Product(
            sku="tools-05", name="Forth Hatchet", text=next(p.text for p in goods() if p.sku == "tools-05"), price=1234
        )
        for wrong in ({"sku": "hats-01", "price": "1"}, {"sku": "tools-05", "price": "-1"}, {"sku": "tools-05"}):
            self.assertContains(self.client.post("/office/price/", wrong, follow=True), "Name a product by its number")

    def test_the_status_page_is_for_the_staff_and_health_for_everybody(self) -> None:
        """As the settings have it where they say nothing."""
        for path in ("/undaunted/", "/undaunted/status.json"):
            assert self.client.get(path).status_code == 403, path
        assert self.client.get("/undaunted/live").status_code == 200
        assert self.client.get("/undaunted/ready").status_code == 200
        self.client.force_login(self.keeper)
        for path in ("/undaunted/", "/undaunted/status.json"):
            assert self.client.get(path).status_code == 200, path
