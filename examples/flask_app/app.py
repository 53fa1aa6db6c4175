"""The shop in one file: Flask, and all of it on MongoDB. ``ORDERS_NODES=host1,host2,host3 flask run``."""

from __future__ import annotations

import os
import secrets
import uuid
from contextlib import suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from flask import Flask, abort, redirect, render_template_string, request, session, url_for
from mongoengine.errors import NotUniqueError

from undaunted.flask import Undaunted
from undaunted.mongodb import Document, fields, transaction

if TYPE_CHECKING:
    from werkzeug.wrappers import Response

app = Flask(__name__)
app.secret_key = os.environ.get("SHOP_SECRET") or secrets.token_bytes(32)
app.config["UNDAUNTED"] = {
    "profiles": {"web": {"retry.deadline": "12s"}},  # a frozen primary costs 3 s, its election 2 s here
    "clusters": {
        "orders": {
            "backend": "mongodb",
            "nodes": os.environ.get("ORDERS_NODES", "127.0.0.1:27017").split(","),
            "database": "flask_shop",
        }
    },
}
Undaunted(app, is_staff=lambda: request.remote_addr == "127.0.0.1")

GOODS = {"lamp": ("Lantern", 2900), "coat": ("Oilskin", 9900), "boots": ("Sea Boots", 7900), "rope": ("Halyard", 2400)}


class Stock(Document):
    """How often each thing was sold: counted up, which must not happen twice."""

    __undaunted__ = {"cluster": "orders"}  # noqa: RUF012
    sku = fields.StringField(primary_key=True)
    sold = fields.IntField(default=0)


class Order(Document):
    """An order. Its number was made with the page that showed the button, so pressed twice it is one order."""

    __undaunted__ = {"cluster": "orders"}  # noqa: RUF012
    number = fields.UUIDField(primary_key=True)
    customer = fields.StringField(required=True)
    sku = fields.StringField(required=True)
    price = fields.IntField(required=True)
    placed_at = fields.DateTimeField(required=True)
    meta = {"indexes": [("customer", "-placed_at")]}  # noqa: RUF012


@transaction(Order)
def place(order: Order) -> None:
    """Keep the order and count the sale: both or neither, and once."""
    order.save(force_insert=True)
    Stock.objects(sku=order.sku).update_one(upsert=True, inc__sold=1)


def customer() -> str:
    """Who asks: a number in the signed cookie."""
    return session.setdefault("customer", secrets.token_hex(8))


@app.get("/")
def home() -> str:
    """What there is."""
    sold = {stock.sku: stock.sold for stock in Stock.objects}
    rows = [(sku, name, price, sold.get(sku, 0), uuid.uuid4()) for sku, (name, price) in GOODS.items()]
    return render_template_string(PAGE, rows=rows, orders=None, goods=GOODS)


@app.post("/buy/<sku>/<uuid:number>")
def buy(sku: str, number: uuid.UUID) -> Response:
    """Order one."""
    if sku not in GOODS:
        abort(404)
    now = datetime.now(timezone.utc)
    with suppress(NotUniqueError):  # the button was pressed twice
        place(Order(number=number, customer=customer(), sku=sku, price=GOODS[sku][1], placed_at=now))
    return redirect(url_for("orders"), 303)


@app.get("/orders")
def orders() -> str:
    """What somebody has ordered so far."""
    found = Order.objects(customer=customer()).order_by("-placed_at").limit(100)
    return render_template_string(PAGE, rows=None, orders=list(found), goods=GOODS)


PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>Foul Weather</title>
<style>
  body { font: 1.05rem/1.6 system-ui, sans-serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem }
  h1 { font-family: Georgia, serif } nav a { margin-right: 1rem } form { margin: 0 }
  table { border-collapse: collapse; width: 100% }
  th, td { text-align: left; padding: .5rem; border-bottom: 1px solid #8885 }
  button { font: inherit; font-weight: 600; border: 0; border-radius: 6px; padding: .4rem 1rem }
  button { background: #b93c17; color: #fff }
</style>
<h1>Foul Weather</h1>
<nav>
  <a href="{{ url_for('home') }}">Goods</a><a href="{{ url_for('orders') }}">Orders</a>
  <a href="/undaunted/">Databases</a>
</nav>
{% if rows %}
<table>
  <tr><th scope="col">What</th><th scope="col">Price</th><th scope="col">Sold</th><th></th></tr>
  {% for sku, name, price, sold, number in rows %}
  <tr><th scope="row">{{ name }}</th><td>{{ '%.2f' % (price / 100) }} €</td><td id="sold-{{ sku }}">{{ sold }}</td>
    <td><form method="post" action="{{ url_for('buy', sku=sku, number=number) }}"><button>Buy</button></form></td></tr>
  {% endfor %}
</table>
{% elif orders %}
<table>
  <tr><th scope="col">When</th><th scope="col">What</th><th scope="col">Price</th></tr>
  {% for order in orders %}
  <tr class="order" data-number="{{ order.number }}">
    <th scope="row">{{ order.placed_at.strftime('%Y-%m-%d %H:%M:%S') }}</th>
    <td>{{ goods[order.sku][0] }}</td><td>{{ '%.2f' % (order.price / 100) }} €</td></tr>
  {% endfor %}
</table>
{% else %}<p>You have ordered nothing yet.</p>{% endif %}
</html>
"""
