"""The status page in a real Chromium: it is quick, shows what is, says it to everybody, and trusts nothing.

With ``UNDAUNTED_SCREENSHOTS=folder`` the pictures of the documentation are written there.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.frameworks.web.browser import PHONE, chromium, opened
from tests.frameworks.web.site import serving
from tests.integration.labs import until
from tests.integration.speed import within

import undaunted
from undaunted.events import CallFailed, FailoverCompleted, NodeLost, OutcomeLeftUnknown
from undaunted.mongodb import Document, fields
from undaunted.registry import REGISTRY
from undaunted.web import answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page, Route
    from typing_extensions import Self

    from undaunted.lab import MongoLab
    from undaunted.lab.node import LabNode

pytestmark = pytest.mark.integration

HOSTILE = '<img src=x onerror="window.reached=1">'


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def url() -> Iterator[str]:
    with serving() as found:
        yield found
    undaunted.close()


@pytest.fixture
def refused() -> Iterator[str]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


def configure(*nodes: str, **changes: Any) -> None:
    orders = {"backend": "mongodb", "nodes": list(nodes), "replica_set": "rs0", "database": "shop", **changes}
    undaunted.configure({"clusters": {"orders": orders}})


def picture(page: Page, name: str) -> None:
    folder = os.environ.get("UNDAUNTED_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True, animations="disabled")


def shows(page: Page, text: str, timeout_s: float = 10.0) -> None:
    page.get_by_text(text).first.wait_for(timeout=timeout_s * 1000)


# -- a primary dies ---------------------------------------------------------------------------------


class Work:
    """What users do meanwhile, in threads: so that something is waiting, and retried."""

    def __init__(self, save: Callable[[], object], threads: int = 3) -> None:
        self._save, self._stop = save, threading.Event()
        self.errors: list[Exception] = []
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            try:
                self._save()
            except Exception as error:
                self.errors.append(error)


class Election:
    """When the servers themselves say that one of them is primary, on `time.monotonic`; asked by a thread."""

    def __init__(self, lab: MongoLab, candidates: list[LabNode]) -> None:
        self._lab, self._candidates = lab, candidates
        self.won_s: float | None = None
        self.winner: str | None = None
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        ends_s = time.monotonic() + 60
        while self.winner is None and time.monotonic() < ends_s:
            for node in self._candidates:
                if self._lab.command(node, {"hello": 1})["isWritablePrimary"]:
                    self.won_s, self.winner = time.monotonic(), node.address
                    return
            time.sleep(0.01)

    def join(self) -> None:
        self._thread.join()


def primary_shown(page: Page) -> str | None:
    found = page.locator("[data-role=primary] .address")
    return found.first.text_content() if found.count() else None


@pytest.mark.alone
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_new_primary_is_shown_within_two_seconds_and_without_a_reload(
    browser: Browser, healthy_mongo_lab: MongoLab, url: str, scheme: Any
) -> None:
    lab = healthy_mongo_lab
    settings = lab.settings_for("orders")
    settings["clusters"]["orders"]["database"] = f"page{os.getpid()}"
    undaunted.configure(settings)

    class Order(Document):
        __undaunted__ = {"cluster": "orders"}
        total = fields.IntField()

    Order(total=0).save()
    documents: list[str] = []
    view = {"width": 1360, "height": 900}
    with opened(browser, url, viewport=view, color_scheme=scheme) as (page, complaints):
        page.on("request", lambda asked: documents.append(asked.url) if asked.resource_type == "document" else None)
        shows(page, "Everything answers.")
        page.evaluate("window.kept = 'since before'")
        old = lab.primary()
        assert primary_shown(page) == old.address
        picture(page, f"status-{scheme}-before")
        with Work(lambda: Order(total=1).save()) as work:
            lab.kill(old)
            election = Election(lab, [node for node in lab.nodes if node is not old])
            until(lambda: page.locator("[data-state=degraded] .reason").count(), what="that a node is missing")
            picture(page, f"status-{scheme}-during")
            until(lambda: primary_shown(page) not in {None, old.address}, timeout_s=60, what="the new primary")
            shown_s = time.monotonic()
            election.join()
            shows(page, "has taken over from")
        assert primary_shown(page) == election.winner
        assert election.won_s is not None
        print(f"the new primary was shown {shown_s - election.won_s:.2f} s after its election")
        within(shown_s - election.won_s, 2.0)
        assert not work.errors
        assert page.evaluate("window.kept") == "since before"
        assert documents == []
        row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=old.address))
        assert row.locator(".role").text_content() == "lost"
        assert row.locator(".breaker").text_content() == "open"
        assert "just now" in (row.locator(".fault").text_content() or "") or "ago" in row.locator(".fault").inner_text()
        picture(page, f"status-{scheme}")
        page.set_viewport_size({"width": PHONE["width"], "height": PHONE["height"]})
        picture(page, f"status-{scheme}-phone")
        lab.start(old)
        shows(page, "Everything answers.", timeout_s=60)
        assert complaints == []


# -- for everybody ----------------------------------------------------------------------------------


def test_it_can_be_used_by_keyboard_alone(browser: Browser, url: str, refused: str) -> None:
    configure(refused)
    with opened(browser, url) as (page, _):
        shows(page, "orders is down: no node answers.")
        reached: list[str] = []
        for _ in range(4):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.id || document.activeElement.className || 'radio'"))
        assert reached == ["skip", "pause", "radio", "timeline-box"]
        page.get_by_role("button", name="Pause").focus()
        page.keyboard.press("Space")
        assert page.get_by_role("button", name="Pause").get_attribute("aria-pressed") == "true"
        assert page.locator("#fresh").text_content() == "paused"
        page.keyboard.press("Enter")
        shows(page, "live, 1 process")
        page.get_by_role("radio", name="All").focus()
        page.keyboard.press("ArrowRight")
        assert page.get_by_role("radio", name="Failovers").is_checked()
        outline = page.evaluate("getComputedStyle(document.querySelector('input:checked + span')).outlineStyle")
        assert outline == "solid", "who uses a keyboard sees where he is"


def test_a_screen_reader_is_told_everything_by_name(browser: Browser, url: str, refused: str) -> None:
    configure(refused)
    with opened(browser, url) as (page, _):
        shows(page, "orders is down: no node answers.")
        assert page.get_by_role("status").text_content() == "orders is down: no node answers."
        assert page.get_by_role("article", name="orders").count() == 1
        assert page.get_by_role("table", name="Nodes of orders").count() == 1
        assert page.get_by_role("columnheader").all_text_contents() == [
            "Node", "Role", "Latency", "Breaker", "Last fault",
        ]  # fmt: skip
        assert page.get_by_role("rowheader", name=refused).count() == 1
        assert page.get_by_role("region", name="Timeline").count() == 1
        assert page.get_by_role("region", name="Events").count() == 1
        assert page.get_by_role("group", name="Events to show").count() == 1
        assert [h.lower() for h in page.get_by_role("heading", level=1).all_text_contents()] == ["undaunted"]
        assert page.evaluate("document.documentElement.lang") == "en"
        tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
        nameless = [
            node["role"]["value"]
            for node in tree
            if not node["ignored"]
            and node["role"]["value"] in {"button", "radio", "link", "table", "article", "region", "group", "heading"}
            and not node.get("name", {}).get("value")
        ]
        assert nameless == []
        page.set_viewport_size({"width": PHONE["width"], "height": PHONE["height"]})
        assert page.get_by_role("table", name="Nodes of orders").get_by_role("cell").count() == 4


_CONTRASTS = """() => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const channel = (c) => (c / 255 <= 0.03928 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const found = numbers(getComputedStyle(e).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.textContent.trim() || !element.checkVisibility() || element.closest(".hidden, .skip, noscript")) continue;
    const style = getComputedStyle(element);
    const [a, b] = [light(numbers(style.color)), light(behind(element))].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize);
    const needed = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    found.push([node.textContent.trim(), (a + 0.05) / (b + 0.05), needed]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", ["ok", "degraded", "down", "unknown"])
def test_every_text_can_be_read(browser: Browser, url: str, refused: str, scheme: Any, state: str) -> None:
    configure(refused)
    REGISTRY.publish(NodeLost(cluster="orders", backend="mongodb", node=refused))
    with opened(browser, url, color_scheme=scheme, reduced_motion="reduce") as (page, _):
        shows(page, "orders is down: no node answers.")
        page.get_by_role("button", name="Pause").click()  # so that the state that is set here stays
        page.evaluate("s => document.querySelectorAll('[data-state]').forEach((e) => { e.dataset.state = s; })", state)
        measured = page.evaluate(_CONTRASTS)
    assert len(measured) > 20
    assert [(text, round(ratio, 2)) for text, ratio, needed in measured if ratio < needed] == []


def test_it_fits_a_phone_also_with_long_names(browser: Browser, url: str) -> None:
    long = f"{'very-' * 10}long-name-of-a-node.in.a.far.region.of.the.cloud.example.invalid:27017"
    configure(long)
    REGISTRY.publish(NodeLost(cluster="orders", backend="mongodb", node=long, reason="ServerSelectionTimeoutError" * 3))
    with opened(browser, url, viewport=PHONE, has_touch=True) as (page, _):
        page.get_by_role("rowheader", name=long).wait_for()
        shows(page, "answers no more")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        controls = [*page.get_by_role("button").all(), *page.locator("label").all()]
        heights = [box["height"] for box in (each.bounding_box() for each in controls) if box]
        assert len(heights) == 5
        assert min(heights) >= 24, "a finger is not a mouse"


def test_who_wants_no_motion_gets_none(browser: Browser, url: str, refused: str) -> None:
    configure(refused)
    with opened(browser, url, reduced_motion="reduce") as (page, _):
        shows(page, "live, 1 process")
        assert page.evaluate("document.getAnimations().length") == 0


# -- trusting nothing -------------------------------------------------------------------------------


def test_nothing_that_came_from_outside_becomes_html(browser: Browser, url: str, refused: str) -> None:
    configure(refused)
    common = {"cluster": "orders", "backend": "mongodb", "node": HOSTILE}
    ended = {"operation": HOSTILE, "attempts": 2, "elapsed_s": 0.5, "reason": HOSTILE, "error": HOSTILE}
    REGISTRY.publish(NodeLost(**common, reason=HOSTILE))
    REGISTRY.publish(CallFailed(**common, **ended))
    REGISTRY.publish(OutcomeLeftUnknown(**common, **ended))
    with opened(browser, url) as (page, complaints):
        shows(page, f"{HOSTILE} answers no more ({HOSTILE})")
        assert page.locator("img").count() == 0
        assert page.evaluate("window.reached") is None
        assert complaints == []


def test_the_policy_stops_what_would_get_in_all_the_same(browser: Browser, url: str, refused: str) -> None:
    configure(refused)
    with opened(browser, url) as (page, complaints):
        shows(page, "live, 1 process")
        assert complaints == []
        page.evaluate("""() => {
          const script = document.createElement("script");
          script.textContent = "window.reached = 1";
          document.body.append(script);
          document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.reached = 1'>");
        }""")
        until(lambda: any("Content Security Policy" in said for said in complaints), what="a complaint")
        assert page.evaluate("window.reached") is None


def test_who_is_not_staff_gets_no_page(browser: Browser, refused: str) -> None:
    configure(refused)
    try:
        with serving(is_staff=False) as url, opened(browser, url) as (page, _):
            assert "This is for staff." in page.inner_text("body")
            assert refused not in page.content()
    finally:
        undaunted.close()


# -- going on ---------------------------------------------------------------------------------------


def test_an_answer_that_does_not_come_is_told_and_the_page_goes_on(browser: Browser, url: str, refused: str) -> None:
    configure(refused)
    with opened(browser, url) as (page, _):
        shows(page, "live, 1 process")
        page.route("**/status.json", lambda route: route.abort())
        shows(page, "the application does not answer; this is")
        page.unroute("**/status.json")
        page.route("**/status.json", lambda route: route.fulfill(status=403))
        shows(page, "login has ended; reload the page")
        page.unroute("**/status.json")
        page.route("**/status.json", lambda route: route.fulfill(status=200, body="{not json"))
        until(lambda: "this is" in (page.locator("#fresh").text_content() or ""), what="that it is old")
        page.unroute("**/status.json")
        shows(page, "live, 1 process")


WORKERS = ({"process": 1}, {"process": 2})
PODS = ({"process": 7, "host": "shop-1"}, {"process": 7, "host": "shop-2"})  # a container numbers its own processes


@pytest.mark.parametrize("who", [WORKERS, PODS], ids=["workers", "pods"])
def test_what_several_processes_say_is_one_picture(browser: Browser, url: str, refused: str, who: Any) -> None:
    """One of two workers has just begun and knows nothing; both have seen the same failover."""
    configure(refused)
    at = time.time()
    for late_s in (0.0, 0.4):
        taken = {"from_node": "a:1", "to_node": "b:1", "elapsed_s": 2.0 + late_s, "at": at + late_s}
        REGISTRY.publish(FailoverCompleted(cluster="orders", backend="mongodb", **taken))
    until(lambda: json.loads(status())["state"] == "down", what="a look at the node")
    knowing, fresh = json.loads(status()), json.loads(status())
    taken_over = [event for event in knowing["events"] if event["event"] == "FailoverCompleted"][-2:]
    knowing |= {**who[0], "events": taken_over[:1]}
    fresh |= {**who[1], "events": taken_over[1:]}
    fresh["clusters"]["orders"] |= {"state": "unknown", "reason": "not watched yet"}
    asked: list[int] = []

    def serve(route: Route) -> None:
        asked.append(len(asked))
        route.fulfill(json=(knowing, fresh)[len(asked) % 2])

    with opened(browser, url, routes={"**/status.json": serve}) as (page, _):
        shows(page, "live, 2 processes")
        for count in range(len(asked), len(asked) + 4):
            until(lambda count=count: page.evaluate("1") and len(asked) > count, what="another answer")
            assert page.locator(".badge").text_content() == "down"
        assert len(page.get_by_text("has taken over from").all_text_contents()) == 1


@pytest.mark.parametrize("behind_s", [-3600, 600])
def test_times_are_told_by_the_server_s_clock(browser: Browser, url: str, refused: str, behind_s: int) -> None:
    """Whoever looks may have another clock; what has just happened has just happened."""
    configure(refused)
    until(lambda: json.loads(status())["state"] == "down", what="a look at the node")

    def serve(route: Route) -> None:
        report, at = json.loads(status()), time.time() - behind_s
        taken = {"event": "FailoverCompleted", "cluster": "orders", "backend": "mongodb", "from_node": "a:1"}
        report |= {"at": at, "events": [{**taken, "to_node": "b:1", "elapsed_s": 2.0, "at": at - 100}]}
        route.fulfill(json=report)

    with opened(browser, url, routes={"**/status.json": serve}) as (page, _):
        shows(page, "b:1 has taken over from a:1")
        assert page.locator("#figure-failover").text_content() == "100 s ago"
        assert page.locator(".tape .mark-failover").count() == 1
        assert 195 < float(page.locator(".tape .mark-failover").get_attribute("x") or 0) < 201


def test_retries_are_gathered_and_unknown_outcomes_are_not(browser: Browser, url: str, refused: str) -> None:
    configure(refused)
    ended = {"operation": f"insert{time.time_ns()}", "node": "a:1", "attempts": 2, "elapsed_s": 0.5, "error": "X"}
    at = time.time()
    for i in range(3):
        REGISTRY.publish(
            OutcomeLeftUnknown(cluster="orders", backend="mongodb", **ended, reason="unknown", at=at + i / 100)
        )
        REGISTRY.publish(CallFailed(cluster="orders", backend="mongodb", **ended, reason="deadline", at=at + i / 100))
    with opened(browser, url) as (page, _):
        shows(page, f"{ended['operation']} was given up")
        assert page.get_by_text(f"{ended['operation']} was given up").count() == 1
        assert (
            page.locator("li", has_text=f"{ended['operation']} was given up").locator(".times").text_content()
            == "3 times"
        )
        assert page.get_by_text(f"{ended['operation']} on a:1: nobody knows").count() == 3
        page.get_by_role("radio", name="Unknown outcomes").check()
        assert page.get_by_text(f"{ended['operation']} was given up").count() == 0
        assert page.get_by_text(f"{ended['operation']} on a:1: nobody knows").count() == 3


def status() -> bytes:
    return answer("status.json", is_staff=True, base="/").body


def test_a_page_that_nobody_looks_at_asks_nothing(browser: Browser, url: str, refused: str) -> None:
    configure(refused)
    with opened(browser, url) as (page, _):
        shows(page, "live, 1 process")
        page.get_by_role("button", name="Pause").click()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.wait_for_timeout(1200)  # longer than it waits between two questions
        assert asked == []
