"""A person with a browser in the Django shop, on MongoDB alone, while its primary dies."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.frameworks.web.browser import PHONE, Complaints, chromium
from tests.integration.example.opening import opened

if TYPE_CHECKING:
    from collections.abc import Generator

    from playwright.sync_api import Browser, Page
    from tests.integration.example.opening import Opened

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(240)]

PICTURES = "UNDAUNTED_SCREENSHOTS"
"""Where pictures of the pages go; without it there are none (`make screenshots`)."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Generator[Opened]:
    with opened(tmp_path_factory.mktemp("shop"), "--backends", "mongodb") as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def page(browser: Browser, shop: Opened) -> Generator[Page]:
    """A new visitor's page; it may ask of no other host, and complain of nothing."""
    context = browser.new_context(viewport={"width": 1100, "height": 780}, base_url=shop.url)
    try:
        found = context.new_page()
        complaints = Complaints()
        complaints.listen(found, shop.url)
        yield found
        assert complaints == []
    finally:
        context.close()


def picture(page: Page, name: str) -> None:
    """Take a picture of the page, if somebody wants them."""
    folder = os.environ.get(PICTURES)
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png")


def orders_in(shop: Opened) -> list[str]:
    """The numbers of all orders that the database has."""
    with shop.labs["orders"].client(uuidRepresentation="standard") as client:
        return [str(order["_id"]) for order in client.shop.order.find()]


def test_what_is_bought_while_the_primary_dies_is_bought_once(shop: Opened, page: Page) -> None:
    page.goto("/")
    picture(page, "shop")
    page.get_by_role("link", name="Lamps", exact=True).click()
    page.get_by_role("link", name="Forties Lantern").click()
    picture(page, "product")
    page.get_by_role("button", name="Put into the cart").click()
    picture(page, "cart")
    before = orders_in(shop)
    killed = shop.labs["orders"].kill("primary")
    try:
        page.get_by_role("button", name=re.compile("Buy for")).dblclick(timeout=60_000)
        page.get_by_role("heading", name="Thank you").wait_for(timeout=60_000)
        number = page.url.rstrip("/").rpartition("/")[2]
        assert page.locator("#payment").is_visible()
        picture(page, "order")
        page.get_by_role("link", name="Orders", exact=True).click()
        assert page.get_by_text(re.compile("1 . Forties Lantern")).count() == 1
        assert page.get_by_text("paid", exact=True).count() == 1
        assert [found for found in orders_in(shop) if found not in before] == [number]
    finally:
        shop.labs["orders"].start(killed)
        shop.labs["orders"].wait_healthy()


@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_with_all_on_postgresql_too(tmp_path: Path, browser: Browser, fault: str) -> None:
    with opened(tmp_path, "--backends", "postgresql") as shop:
        context = browser.new_context(base_url=shop.url)
        try:
            page = context.new_page()
            page.goto("/product/boots-03/")
            page.get_by_role("button", name="Put into the cart").click()
            getattr(shop.labs["ledger"], fault)("primary")
            page.get_by_role("button", name=re.compile("Buy for")).dblclick(timeout=60_000)
            page.get_by_role("heading", name="Thank you").wait_for(timeout=60_000)
            assert page.locator("#payment").is_visible()
            page.get_by_role("link", name="Orders", exact=True).click()
            assert page.get_by_text("paid", exact=True).count() == 1
        finally:
            context.close()


def test_a_page_that_is_asked_for_while_the_primary_freezes_comes(shop: Opened, page: Page) -> None:
    page.goto("/shelf/boots/")
    frozen = shop.labs["orders"].freeze("primary")
    try:
        page.get_by_role("link", name="Dogger Deck Boot").click(timeout=60_000)
        page.get_by_role("heading", name="Dogger Deck Boot").wait_for(timeout=60_000)
    finally:
        shop.labs["orders"].thaw(frozen)
        shop.labs["orders"].wait_healthy()


def test_what_somebody_writes_is_text_and_nothing_else(page: Page) -> None:
    page.goto("/product/ropes-03/")
    page.get_by_text("Write a review").click()
    page.get_by_label("Your name").fill("Ada <b>bold</b>")
    page.get_by_label("What do you say?").fill("<script>document.title = 'taken'</script><img src=x onerror=alert(1)>")
    page.get_by_role("button", name="Send").click()
    page.get_by_text("Thank you for your review.").wait_for()
    said = page.locator("blockquote").first
    assert "<script>document.title = 'taken'</script>" in said.inner_text()
    assert "Ada <b>bold</b>" in said.inner_text()
    assert said.locator("script, img, b").count() == 0
    assert "taken" not in page.title()


def test_the_office_is_for_staff_and_leads_to_the_status_page(shop: Opened, page: Page) -> None:
    assert page.request.get("/undaunted/").status == 403
    assert page.request.get("/undaunted/status.json").status == 403
    assert page.request.get("/undaunted/ready").status == 200
    page.goto("/office/")
    assert "login" in page.url
    page.get_by_label("Username").fill("keeper")
    page.get_by_label("Password").fill(shop.password)
    page.get_by_role("button", name="Enter").click()
    page.get_by_role("heading", name="Office").wait_for()
    picture(page, "office")
    assert page.locator("#balance").inner_text() == "0.00 €"
    page.get_by_label("Sku").fill("tools-01")
    page.get_by_label("Price").fill("12.34")
    page.get_by_role("button", name="Change").click()
    page.goto("/product/tools-01/")
    assert page.get_by_text("12.34 €").is_visible()
    page.goto("/undaunted/")
    page.get_by_text("primary").first.wait_for()
    picture(page, "databases")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_every_page_without_a_scroll_to_the_side(browser: Browser, shop: Opened, scheme: str) -> None:
    context = browser.new_context(viewport=PHONE, base_url=shop.url, color_scheme=scheme)
    try:
        page = context.new_page()
        page.goto("/product/tents-01/")
        page.get_by_role("button", name="Put into the cart").click()
        page.get_by_role("button", name=re.compile("Buy for")).click()
        page.get_by_role("heading", name="Thank you").wait_for()
        for path in (
            "/",
            "/shelf/tents/",
            "/product/tents-01/",
            "/cart/",
            "/orders/",
            page.url,
            "/office/",
            "/nowhere/",
        ):
            page.goto(path)
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path
            if path == "/":
                picture(page, f"phone-{scheme}")
    finally:
        context.close()


def test_a_keyboard_is_enough_to_buy(page: Page) -> None:
    page.goto("/product/flasks-02/")
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "To the page"
    page.get_by_role("button", name="Put into the cart").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name=re.compile("Buy for")).focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Thank you").wait_for()


def test_the_same_form_sent_again_and_again_is_one_order(browser: Browser, shop: Opened) -> None:
    context = browser.new_context(base_url=shop.url)
    try:
        page = context.new_page()
        page.goto("/product/coats-05/")
        page.get_by_role("button", name="Put into the cart").click()
        sent = page.locator("input[name=form]").get_attribute("value")
        token = page.locator("form.buy input[name=csrfmiddlewaretoken]").get_attribute("value")
        before = len(orders_in(shop))
        form = {"form": sent or "", "csrfmiddlewaretoken": token or ""}
        answers = [context.request.post("/buy/", form=form) for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 200]
        assert len({answer.url for answer in answers}) == 1
        assert len(orders_in(shop)) == before + 1
    finally:
        context.close()
