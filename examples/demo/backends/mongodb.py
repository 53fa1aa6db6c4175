"""The shop on a MongoDB replica set: plain MongoEngine, and undaunted."""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import mongoengine
from serving import turn_of
from shop.documents import PRODUCTS_ON_A_SHELF, Shop

from backends.shoppers import Shoppers
from backends.stage import ALIAS, Kinds, Stage, once
from undaunted.lab import MongoLab
from undaunted.lab.verdict import judge_passage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from script import Faults

    from backends.stage import Audit, Effects
    from undaunted.lab.ledger import Entry, Ledger

__all__ = ["STAGE"]

SHELVES_OF_A_WORKER = 20
WRITES_ON_A_SHELF = 200  # then on to the next: what the documents remember must not grow without end
BATCH = 100


class MongoDBShoppers(Shoppers):
    """Orders, payments, counters of one and of many documents, point reads and scans of the history."""

    def prepare(self) -> None:
        """Fill the shelves and write the history."""
        self.shop.open(shelves=2 * SHELVES_OF_A_WORKER, past_orders=len(self.past))

    def jobs(self) -> list[tuple[str, Callable[[str], None]]]:
        """Who does what."""
        return [
            ("order-1", self.orders),
            ("order-2", self.orders),
            ("pay-1", self.pays),
            ("sell-1", functools.partial(self.sells, first_shelf=0)),
            ("sell-2", functools.partial(self.sells, first_shelf=SHELVES_OF_A_WORKER)),
            ("visit-1", functools.partial(self.visits, first_shelf=0)),
            ("visit-2", functools.partial(self.visits, first_shelf=SHELVES_OF_A_WORKER)),
            ("read-1", self.reads),
            ("read-2", self.reads),
            ("scan-1", functools.partial(self.scans, pause_s=0.02)),
            ("scan-2", functools.partial(self.scans, pause_s=0.3)),
        ]

    def sells(self, name: str, *, first_shelf: int) -> None:
        """Count one counter up."""
        with self.operation("update one", name):
            self.shop.sell(f"{_shelf(name, first_shelf)}-{turn_of(name) % PRODUCTS_ON_A_SHELF}", name)

    def visits(self, name: str, *, first_shelf: int) -> None:
        """Count many counters up."""
        shelf = _shelf(name, first_shelf)
        with self.operation("update many", f"{name}@{shelf}"):
            self.shop.visit(shelf, f"{name}@{shelf}")

    def scans(self, name: str, *, pause_s: float) -> None:
        """Go through the history, pausing between batches as one who works on them does."""
        with self.operation("scan", name) as note:
            delivered: list[int] = []
            for place in self.shop.history(batch=BATCH):
                delivered.append(place)
                if len(delivered) % BATCH == 0:
                    self.closing.wait(pause_s)
            note.text = judge_passage(self.past, delivered).value


def _shelf(name: str, first: int) -> int:
    return first + turn_of(name) // WRITES_ON_A_SHELF % SHELVES_OF_A_WORKER


class MongoDBStage(Stage):
    """Kill and freeze the primary, then step it down."""

    backend = "mongodb"
    kinds = Kinds(
        orm="mongoengine",
        checked_at="majority read concern",
        writes=("save new", "save changed", "update one", "update many"),
    )

    def lab(self) -> MongoLab:
        """A replica set of three."""
        return MongoLab()

    def settings(self, lab: MongoLab, database: str) -> dict[str, Any]:
        """As the lab has them; a database is there when it is first written to."""
        settings = lab.settings_for(ALIAS)
        settings["clusters"][ALIAS]["database"] = database
        return settings

    def reach(self, lab: MongoLab, database: str) -> str:  # noqa: ARG002  # the database is named beside it
        """The URI of the set."""
        return lab.uri

    def customers(self, spec: dict[str, Any], ledger: Ledger) -> MongoDBShoppers:
        """Connect as the spec says: this is all that differs between the two sides."""
        if spec["side"] == "plain":
            mongoengine.connect(spec["database"], host=spec["reach"], alias=ALIAS)
            base: Any = mongoengine.Document
        else:
            import undaunted.mongodb  # noqa: PLC0415  # not a line of it runs on the plain side

            undaunted.configure(spec["settings"])
            base = undaunted.mongodb.Document
        return MongoDBShoppers(Shop(base), ledger, past_orders=spec["past_orders"])

    def audit(self, lab: MongoLab, database: str, entries: Sequence[Entry]) -> Audit:  # noqa: ARG002  # names suffice
        """Read a side's documents at majority read concern."""
        from pymongo.read_concern import ReadConcern  # noqa: PLC0415

        majority = ReadConcern("majority")
        with lab.client() as client:
            orders = list(client[database].get_collection("order", read_concern=majority).find())
            products = list(client[database].get_collection("product", read_concern=majority).find().sort("sku", 1))
        shelves: dict[int, list[dict[str, Any]]] = defaultdict(list)
        sales: Counter[str] = Counter()
        for product in products:
            shelves[product["shelf"]].append(product)
            sales.update(product["sales"])
        visits: Effects = {}
        for on_shelf in shelves.values():
            counts = [Counter(product["visits"]) for product in on_shelf]
            visits.update({visit: [count[visit] for count in counts] for visit in {v for c in counts for v in c}})
        crooked = sum(p["sold"] != len(p["sales"]) for p in products)
        crooked += sum(p["visited"] != len(p["visits"]) for p in products)
        return {
            "save new": once(o["number"] for o in orders),
            "save changed": once(o["receipt"] for o in orders if o.get("receipt")),
            "update one": {key: [count] for key, count in sales.items()},
            "update many": visits,
        }, crooked

    def last_fault(self, faults: Faults, lab: MongoLab, *, at_s: float, is_quick: bool) -> None:  # noqa: ARG002
        """The primary hands over in good order."""
        faults.strike("step-down", "stepping down", lab.step_down, at_s=at_s)


STAGE = MongoDBStage()
