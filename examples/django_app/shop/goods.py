"""What the shop sells: thirty of a kind on each of eight shelves, each named after a sea area."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shop.values import Product

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SHELVES", "Shelf", "goods"]

AREAS = (
    "Viking", "Utsire", "Forties", "Cromarty", "Forth", "Tyne", "Dogger", "Fisher", "FitzRoy", "Thames",
    "Dover", "Irish Sea", "Portland", "Plymouth", "Biscay", "Trafalgar", "Finisterre", "Sole", "Lundy", "Fastnet",
    "Shannon", "Rockall", "Malin", "Hebrides", "Bailey", "Fair Isle", "Faeroes", "Iceland", "Baltic", "Skagerrak",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shelf:
    """A kind of goods.

    Attributes:
        key: Its name in addresses and in the numbers of its products.
        title: Its name on the page.
        kinds: What stands there.
        text: What is said of each.
        price: Of the cheapest, in cents.
    """

    key: str
    title: str
    kinds: tuple[str, ...]
    text: str
    price: int


SHELVES = {
    shelf.key: shelf
    for shelf in (
        Shelf(
            "coats",
            "Coats",
            ("Oilskin", "Storm Coat", "Pea Coat"),
            "Waxed cotton, taped seams, and a collar that stands up to the wind. It has never asked for good weather.",
            9900,
        ),
        Shelf(
            "boots",
            "Boots",
            ("Sea Boot", "Deck Boot", "Fell Boot"),
            "A sole that holds on wet steel and on wet rock. Dry inside, whatever it is like outside.",
            7900,
        ),
        Shelf(
            "lamps",
            "Lamps",
            ("Lantern", "Head Lamp", "Signal Lamp"),
            "Burns through the night and some of the next day. The handle can be found in the dark.",
            2900,
        ),
        Shelf(
            "ropes",
            "Ropes",
            ("Mooring Line", "Halyard", "Bow Rope"),
            "Three strands, thirty metres. When one of the strands goes, the other two hold.",
            2400,
        ),
        Shelf(
            "flasks",
            "Flasks",
            ("Flask", "Tea Can", "Mess Tin"),
            "Steel, with a lid that is a cup. Tea stays hot from one watch to the next.",
            1900,
        ),
        Shelf(
            "tents",
            "Tents",
            ("Tunnel Tent", "Storm Tent", "Tarpaulin"),
            "Stands on any two of its three poles. Room for two, and for what they carry.",
            18900,
        ),
        Shelf(
            "compasses",
            "Compasses",
            ("Compass", "Hand Bearing", "Sextant"),
            "Points the same way for everybody who asks it, wherever they stand.",
            3900,
        ),
        Shelf(
            "tools",
            "Tools",
            ("Knife", "Marlinspike", "Hatchet"),
            "For what has to be undone in a hurry, and for what has to be done again.",
            3400,
        ),
    )
}


def goods() -> Iterator[Product]:
    """Everything that the shop sells, the same each time."""
    for shelf in SHELVES.values():
        for place, area in enumerate(AREAS, start=1):
            kind = shelf.kinds[place % len(shelf.kinds)]
            price = shelf.price + place * 7 % 11 * 500
            yield Product(sku=f"{shelf.key}-{place:02}", name=f"{area} {kind}", text=shelf.text, price=price)
