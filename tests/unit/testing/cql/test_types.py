"""Values as the driver writes and reads them, and literals."""

from __future__ import annotations

import datetime as dt
import decimal
import os
import random
import uuid

import pytest
from cassandra.cqltypes import lookup_casstype
from cassandra.metadata import Murmur3Token
from hypothesis import given
from hypothesis import strategies as st

from undaunted.testing.cql.errors import Invalid
from undaunted.testing.cql.murmur import token
from undaunted.testing.cql.reader import Reader
from undaunted.testing.cql.schema import Keyspace, Schema
from undaunted.testing.cql.types import CqlType, scalar
from undaunted.testing.cql.values import Bound


def written(text: str) -> CqlType:
    schema = Schema()
    keyspace = Keyspace(name="ks", replication={})
    keyspace.types["pair"] = CqlType("pair", (scalar("int"), scalar("text")), keyspace="ks", fields=("a", "b"))
    return schema.type(Reader(text).type(), keyspace)


VALUES = [
    ("int", "Int32Type", st.integers(-(2**31), 2**31 - 1)),
    ("bigint", "LongType", st.integers(-(2**63), 2**63 - 1)),
    ("smallint", "ShortType", st.integers(-(2**15), 2**15 - 1)),
    ("tinyint", "ByteType", st.integers(-128, 127)),
    ("varint", "IntegerType", st.integers(-(2**200), 2**200)),
    ("text", "UTF8Type", st.text()),
    ("blob", "BytesType", st.binary()),
    ("boolean", "BooleanType", st.booleans()),
    ("double", "DoubleType", st.floats(allow_nan=False)),
    ("float", "FloatType", st.floats(allow_nan=False, width=32)),
    ("uuid", "UUIDType", st.uuids()),
    ("decimal", "DecimalType", st.decimals(allow_nan=False, allow_infinity=False)),
]


@pytest.mark.parametrize(("name", "theirs", "values"), VALUES, ids=[name for name, _, _ in VALUES])
def test_bytes_are_those_of_the_driver(name, theirs, values):
    kind, driver = scalar(name), lookup_casstype(theirs)

    @given(values)
    def check(value):
        packed = driver.to_binary(value, 4)
        assert kind.unpack(packed) == value
        assert driver.from_binary(kind.pack(kind.unpack(packed)), 4) == value

    check()


def test_tokens_are_those_of_the_driver():
    for length in range(70):
        key = os.urandom(length)
        assert token(key) == Murmur3Token.hash_fn(key)


@given(
    st.tuples(st.integers(-(2**31), 2**31 - 1), st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)),
)
def test_durations_survive(value):
    kind = scalar("duration")
    assert kind.unpack(kind.pack(value)) == value


def test_the_driver_reads_our_durations():
    driver = lookup_casstype("DurationType")
    found = driver.from_binary(scalar("duration").pack((14, -3, 1_000_000_007)), 4)
    assert (found.months, found.days, found.nanoseconds) == (14, -3, 1_000_000_007)


LITERALS = [
    ("text", "'it''s'", "it's"),
    ("text", "$$it's$$", "it's"),
    ("int", "-5", -5),
    ("double", "1.5e3", 1500.0),
    ("double", "-Infinity", float("-inf")),
    ("decimal", "1.250", decimal.Decimal("1.250")),
    ("boolean", "TRUE", True),
    ("blob", "0xCAFE", b"\xca\xfe"),
    ("uuid", "6f0b4f20-4f9c-4b7a-9a35-000000000001", uuid.UUID("6f0b4f20-4f9c-4b7a-9a35-000000000001")),
    ("timestamp", "1700000000123", dt.datetime(2023, 11, 14, 22, 13, 20, 123000)),  # noqa: DTZ001
    ("timestamp", "'2023-11-14T22:13:20.123Z'", dt.datetime(2023, 11, 14, 22, 13, 20, 123000)),  # noqa: DTZ001
    ("timestamp", "'2023-11-14 23:13+0100'", dt.datetime(2023, 11, 14, 22, 13)),  # noqa: DTZ001
    ("date", "'2023-11-14'", dt.date(2023, 11, 14)),
    ("date", "2147503323", dt.date(2023, 11, 14)),
    ("time", "'01:02:03.000005'", dt.time(1, 2, 3, 5)),
    ("inet", "'::1'", "::1"),
    ("duration", "1y2mo3d4h5ms", (14, 3, 14_400_005_000_000)),
    ("list<int>", "[3, 1, 3]", [3, 1, 3]),
    ("set<int>", "{3, 1, 3}", {1, 3}),
    ("set<int>", "{}", set()),
    ("map<text, int>", "{'b': 2, 'a': 1}", {"a": 1, "b": 2}),
    ("map<text, int>", "{}", {}),
    ("tuple<int, text>", "(1, null)", (1, None)),
    ("tuple<int, text>", "(1)", (1, None)),
    ("frozen<pair>", "{b: 'x', a: 1}", {"a": 1, "b": "x"}),
    ("frozen<pair>", '{"a": 1}', {"a": 1, "b": None}),
    ("list<frozen<map<text, frozen<set<int>>>>>", "[{'a': {2, 1}}]", [{"a": {1, 2}}]),
    ("int", "(int) 5", 5),
]


@pytest.mark.parametrize(("kind", "text", "value"), LITERALS, ids=[f"{k} {t}" for k, t, _ in LITERALS])
def test_literals(kind, text, value):
    wanted = written(kind)
    found = Bound().value(Reader(text).term(), wanted, "v")
    assert wanted.native(found) == value
    assert wanted.unpack(wanted.pack(found)) == found


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("int", "'5'", "Invalid STRING constant"),
        ("int", "3000000000", "does not fit"),
        ("text", "5", "Invalid INTEGER constant"),
        ("uuid", "'6f0b4f20-4f9c-4b7a-9a35-000000000001'", "Invalid STRING constant"),
        ("inet", "'nowhere'", "Unable to make inet"),
        ("timestamp", "'yesterday'", "Unable to make timestamp"),
        ("list<int>", "{1}", "Invalid list or set literal"),
        ("set<int>", "{1: 2}", "Invalid map literal"),
        ("map<int, int>", "{1}", "Invalid set literal"),
        ("list<int>", "[null]", "Invalid null value"),
        ("frozen<pair>", "{c: 1}", "Unknown field 'c'"),
        ("int", "nosuch(1)", "Unknown function 'nosuch'"),
        ("int", "?", "Invalid amount of bind variables"),
    ],
)
def test_a_literal_of_another_type_is_refused(kind, text, said):
    with pytest.raises(Invalid, match=said):
        Bound().value(Reader(text).term(), written(kind), "v")


def test_bytes_of_another_type_are_refused():
    with pytest.raises(Invalid, match="3 bytes are no value of the type int"):
        scalar("int").unpack(b"abc")
    with pytest.raises(Invalid, match="no value of the type list<int>"):
        written("list<int>").unpack(b"\0\0\0\5\0\0")


@pytest.mark.parametrize(
    "text",
    ["int", "list<int>", "frozen<list<int>>", "map<text, frozen<set<uuid>>>", "tuple<int, text>", "frozen<pair>"],
)
def test_types_are_written_as_they_were_read(text):
    assert str(written(text)) == text


def test_an_unknown_type_is_refused():
    with pytest.raises(Invalid, match=r"Unknown type ks\.nosuch"):
        written("nosuch")


def test_timeuuids_are_sorted_by_their_time():
    clock = random.Random(4)
    made = [uuid.UUID(fields=(t, 0, 0x1000, 0x80, clock.randrange(256), clock.getrandbits(48))) for t in range(50)]
    shuffled = clock.sample(made, len(made))
    assert sorted(shuffled, key=scalar("timeuuid").order) == made
