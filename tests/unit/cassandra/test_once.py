"""What may run twice runs again; what may not is applied once, and its caller is told when that is not known."""

from __future__ import annotations

import uuid
from typing import Any

import cassandra
import pytest
from cassandra.cluster import NoHostAvailable
from cassandra.cqlengine.query import LWTException

import undaunted
from undaunted.cassandra import BatchQuery, OutcomeUnknown
from undaunted.testing.cql import CasWriteUnknown, Overloaded, Unavailable, WriteTimeout


def executed(shop: Any, word: str) -> list[Any]:
    return [each for each in shop.fake.executed if word in each.text]


def test_a_write_that_may_run_twice_survives_a_lost_reply_with_its_first_timestamp(shop: Any) -> None:
    shop.fake.script("INSERT").lose_reply()
    shop.Product.create(sku=1, name="lamp")
    first, second = executed(shop, "INSERT")
    assert first.timestamp == second.timestamp
    assert first.node != second.node
    assert shop.Product.objects.get(sku=1).name == "lamp"


@pytest.mark.parametrize("fault", ["lose_reply", "drop", "hang"])
def test_a_counter_is_never_counted_twice(shop: Any, fault: str) -> None:
    getattr(shop.fake.script("UPDATE"), fault)()
    with pytest.raises(OutcomeUnknown) as caught:
        shop.Hits.objects(page="home").update(count=1)
    assert isinstance(caught.value, cassandra.OperationTimedOut)
    assert [tried.fault.value for tried in caught.value.attempts] == ["unknown"]
    assert len(executed(shop, "UPDATE")) == (1 if fault == "lose_reply" else 0)


def test_an_append_hidden_in_a_save_is_sent_once(shop: Any) -> None:
    product = shop.Product.create(sku=1, log=[1])
    shop.fake.script("UPDATE").lose_reply()
    product.log = [1, 2]
    with pytest.raises(OutcomeUnknown):
        product.save()
    assert shop.Product.objects.get(sku=1).log == [1, 2]


def test_text_written_by_hand_is_sent_once_unless_it_is_declared(shop: Any) -> None:
    from cassandra.cqlengine import connection

    text = "INSERT INTO shop.product (sku, name) VALUES (1, 'lamp')"
    shop.fake.script("INSERT").drop()
    with pytest.raises(OutcomeUnknown):
        connection.execute(text, connection="catalog")
    shop.fake.script("INSERT").drop()
    with undaunted.options(idempotent=True):
        connection.execute(text, connection="catalog")
    assert len(executed(shop, "INSERT")) == 1


def test_what_was_refused_before_it_ran_runs_again_whatever_it_is(shop: Any) -> None:
    shop.fake.script("UPDATE").error(Unavailable(consistency="LOCAL_QUORUM", required=2, alive=1))
    shop.Hits.objects(page="home").update(count=1)
    assert shop.Hits.objects.get(page="home").count == 1


def test_an_overloaded_node_is_asked_again_only_for_what_may_run_twice(shop: Any) -> None:
    shop.fake.script("INSERT").error(Overloaded())
    shop.Product.create(sku=1, name="lamp")
    shop.fake.script("UPDATE").error(Overloaded())
    with pytest.raises(OutcomeUnknown):
        shop.Hits.objects(page="home").update(count=1)


def test_a_late_rerun_overwrites_nothing_newer(shop: Any) -> None:
    """Our first try is lost in a frozen node; somebody else writes; we run again: theirs is newer, and stays."""
    shop.fake.script("INSERT.*lamp").hang()

    def other(_: object) -> None:
        if not executed(shop, "theirs"):
            shop.Product.create(sku=1, name="theirs")

    stop = undaunted.subscribe(other, undaunted.events.RetryScheduled)
    shop.Product.create(sku=1, name="lamp")
    stop()
    assert shop.Product.objects.get(sku=1).name == "theirs"


def test_an_insert_if_not_exists_is_settled_by_its_row(shop: Any) -> None:
    shop.fake.script("INSERT").lose_reply()
    shop.Seat.if_not_exists().create(number=1, holder="ada", token=uuid.uuid4())
    assert len(executed(shop, "INSERT")) == 1
    reads = executed(shop, "SELECT")
    assert reads[-1].request.consistency == "LOCAL_SERIAL"


def test_an_insert_that_another_could_have_made_just_so_is_not_called_ours(shop: Any) -> None:
    shop.Seat.create(number=1, holder="taken")
    for holder in ({"holder": "taken"}, {}):  # the same values, and the key alone
        shop.fake.script("INSERT").drop()
        with pytest.raises(OutcomeUnknown):
            shop.Seat.if_not_exists().create(number=1, **holder)


def test_an_insert_if_not_exists_that_somebody_else_won_is_not_ours(shop: Any) -> None:
    shop.Seat.create(number=1, holder="bob")
    shop.fake.script("INSERT").drop()
    with pytest.raises(OutcomeUnknown):
        shop.Seat.if_not_exists().create(number=1, holder="ada")


def test_a_transaction_that_the_coordinator_gave_up_and_that_left_no_row_runs_again(shop: Any) -> None:
    shop.fake.script("INSERT").error(CasWriteUnknown(consistency="SERIAL", received=1, required=2))
    shop.Seat.if_not_exists().create(number=1, holder="ada")
    assert shop.Seat.objects.get(number=1).holder == "ada"
    with pytest.raises(LWTException):
        shop.Seat.if_not_exists().create(number=1, holder="bob")


def test_a_condition_is_settled_only_by_a_value_that_nobody_else_writes(shop: Any) -> None:
    shop.Seat.create(number=1, holder="bob")
    shop.fake.script("UPDATE").lose_reply()
    with pytest.raises(OutcomeUnknown):
        shop.Seat.objects(number=1).iff(holder="bob").update(holder="ada")
    shop.fake.script("UPDATE").lose_reply()
    shop.Seat.objects(number=1).iff(holder="ada").update(holder="eve", token=uuid.uuid4())
    assert shop.Seat.objects.get(number=1).holder == "eve"


def test_a_batch_of_what_may_run_twice_runs_again_as_a_whole(shop: Any) -> None:
    shop.fake.script("BEGIN").error(
        WriteTimeout(consistency="LOCAL_QUORUM", received=0, required=1, write_type="BATCH_LOG")
    )
    with BatchQuery() as batch:
        shop.Line.batch(batch).create(order=1, number=1, item="lamp")
        shop.Line.batch(batch).create(order=1, number=2, item="bulb")
    assert [line.item for line in shop.Line.objects(order=1)] == ["lamp", "bulb"]
    shop.fake.script("BEGIN").lose_reply()
    with pytest.raises(OutcomeUnknown), BatchQuery() as batch:
        shop.Product.objects(sku=1).batch(batch).update(log__append=[1])


def test_every_page_comes_once_although_nodes_hang(shop: Any) -> None:
    for number in range(60):
        shop.Line.create(order=1, number=number, item="x")
    shop.fake.script("SELECT", page=2).hang()
    shop.fake.script("SELECT", page=4).lose_reply()
    found = [line.number for line in shop.Line.objects(order=1).fetch_size(7)]
    assert found == list(range(60))


def test_an_error_in_a_page_raises_again_and_never_truncates(shop: Any) -> None:
    for number in range(30):
        shop.Line.create(order=1, number=number, item="x")
    lines = shop.Line.objects(order=1).fetch_size(7)
    broken = shop.fake.script("SELECT", page=3, times=None).hang()
    with undaunted.options(deadline="1s"), pytest.raises(undaunted.UndauntedError):
        list(lines)
    with undaunted.options(deadline="1s"), pytest.raises(undaunted.UndauntedError):
        list(lines)
    broken.cancel()
    assert [line.number for line in lines] == list(range(30))
    assert [line.number for line in lines] == list(range(30))


def test_a_frozen_node_is_met_once_and_then_left_alone_until_it_is_well(shop: Any) -> None:

    shop.fake.freeze(1)
    for number in range(30):
        shop.Product.objects(sku=number).update(name="x")
    waited = [each for each in shop.fake.traffic if each.node == 1 and "UPDATE" in (each.text or "")]
    assert len(waited) <= 1
    shop.fake.thaw(1)
    shop.until(lambda: all(node["role"] == "replica" for node in undaunted.status()["clusters"]["catalog"]["nodes"]))


def test_all_nodes_away_and_back(shop: Any) -> None:
    shop.fake.kill(1, 2, 3)
    with undaunted.options(deadline="300ms"), pytest.raises(undaunted.DeadlineExceeded) as caught:
        shop.Product.objects.get(sku=1)
    assert isinstance(caught.value, cassandra.OperationTimedOut)
    shop.fake.start(1, 2, 3)
    shop.Product.create(sku=1, name="lamp")


def test_an_error_of_the_request_passes_untouched(shop: Any) -> None:
    from cassandra.cqlengine import connection

    with pytest.raises(cassandra.InvalidRequest):
        connection.execute("SELECT nothing FROM shop.product", connection="catalog")
    with pytest.raises(shop.Product.DoesNotExist):
        shop.Product.objects.get(sku=404)
    assert not issubclass(cassandra.InvalidRequest, NoHostAvailable)
