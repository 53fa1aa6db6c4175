"""Frames and segments, and the handshake at the level of bytes."""

from __future__ import annotations

import io
import socket
import struct

import pytest
from cassandra.segment import SegmentCodec
from hypothesis import given
from hypothesis import strategies as st

from undaunted.testing.cql import FakeCassandra
from undaunted.testing.cql.frames import BrokenFrameError, FrameReader, Opcode, pack_frame, pack_segments


def request(opcode: int, body: bytes = b"", *, version: int = 5, stream: int = 7) -> bytes:
    return struct.pack(">BBhBi", version, 0, stream, opcode, len(body)) + body


STARTUP = b"\0\1\0\x0bCQL_VERSION\0\x053.0.0"


@given(st.lists(st.binary(max_size=200), max_size=5), st.integers(1, 50), st.booleans())
def test_frames_come_out_whole_in_whatever_pieces_they_arrive(bodies, step, segmented):
    wire = b"".join(request(Opcode.QUERY, body) for body in bodies)
    if segmented:
        wire = pack_segments(wire)
    reader = FrameReader()
    reader.segmented = segmented
    found = [f.body for at in range(0, len(wire), step) for f in reader.feed(wire[at : at + step])]
    assert found == bodies


def test_a_frame_longer_than_a_segment_spans_several():
    body = bytes(range(256)) * 2000
    wire = pack_segments(request(Opcode.QUERY, body))
    assert len(wire) == len(body) + 9 + 4 * 10  # a header of 6 and a checksum of 4 bytes around each of four
    reader = FrameReader()
    reader.segmented = True
    assert [frame.body for frame in reader.feed(wire)] == [body]


def test_segments_are_those_of_the_driver():
    frame = pack_frame(5, 3, Opcode.RESULT, b"body")
    theirs = io.BytesIO()
    SegmentCodec().encode(theirs, frame)
    # The driver calls a lone segment "self-contained" where `encode` is told so by its length.
    assert pack_segments(frame) == theirs.getvalue()


@pytest.mark.parametrize("place", [0, 4, 8, -1], ids=["header", "its checksum", "payload", "its checksum"])
def test_a_flipped_bit_in_a_segment_is_noticed(place):
    wire = bytearray(pack_segments(request(Opcode.OPTIONS, b"something")))
    wire[place] ^= 1
    reader = FrameReader()
    reader.segmented = True
    with pytest.raises(BrokenFrameError, match="checksum"):
        list(reader.feed(bytes(wire)))


@pytest.mark.parametrize(
    "wire",
    [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", struct.pack(">BBhBi", 4, 0, 0, 7, -1), b"\x84" + bytes(8)],
    ids=["another protocol", "negative length", "an answer"],
)
def test_what_is_no_request_ends_the_connection(wire):
    with FakeCassandra(1) as fake, socket.create_connection((fake.nodes[0].address, fake.port), 10) as client:
        client.sendall(wire)
        client.settimeout(10)
        answer = read_all(client)
    assert answer[4:5] == b"\0"  # the opcode of an error


def read_all(client: socket.socket) -> bytes:
    """Everything up to the end of the connection."""
    found = b""
    while piece := client.recv(4096):
        found += piece
    return found


def read_frame(client: socket.socket) -> tuple[int, int, int, bytes]:
    """Version, stream, opcode and body of one frame without a segment around it."""
    header = b""
    while len(header) < 9:
        header += client.recv(9 - len(header))
    version, _, stream, opcode, length = struct.unpack(">BBhBi", header)
    body = b""
    while len(body) < length:
        body += client.recv(length - len(body))
    return version & 0x7F, stream, opcode, body


def test_startup_is_answered_without_a_segment_and_all_that_follows_with_one():
    with FakeCassandra(1) as fake, socket.create_connection((fake.nodes[0].address, fake.port), 10) as client:
        client.sendall(request(Opcode.STARTUP, STARTUP))
        assert read_frame(client) == (5, 7, Opcode.READY, b"")
        client.sendall(pack_segments(request(Opcode.OPTIONS, stream=9)))
        header = client.recv(6)
        length = int.from_bytes(header[:3], "little") & 0x1FFFF
        assert 9 < length < 1000
        segment = client.recv(length + 4)
        assert segment[:5] == bytes((0x85, 0, 0, 9, Opcode.SUPPORTED))


@pytest.mark.parametrize(("greatest", "asked"), [(5, 6), (5, 65), (4, 5), (5, 2)])
def test_another_version_is_refused_in_one_that_is_spoken(greatest, asked):
    with FakeCassandra(1, protocol=greatest) as fake, socket.create_connection((fake.nodes[0].address, fake.port)) as c:
        c.sendall(request(Opcode.STARTUP, STARTUP, version=asked))
        version, stream, opcode, body = read_frame(c)
        assert read_all(c) == b""
    assert (version, stream, opcode) == (max(3, min(greatest, asked)), 7, Opcode.ERROR)
    assert body[:4] == b"\0\0\0\x0a"
    assert body[6:].decode() == (
        f"Invalid or unsupported protocol version ({asked}); "
        f"the lowest supported version is 3 and the greatest is {greatest}"
    )


def test_a_statement_before_the_handshake_is_refused():
    with FakeCassandra(1) as fake, socket.create_connection((fake.nodes[0].address, fake.port), 10) as client:
        client.sendall(request(Opcode.QUERY, b"", version=4))
        assert b"expecting STARTUP" in read_frame(client)[3]


def test_a_body_that_ends_too_early_is_a_protocol_error_and_the_connection_goes_on():
    with FakeCassandra(1) as fake, socket.create_connection((fake.nodes[0].address, fake.port), 10) as client:
        client.sendall(request(Opcode.STARTUP, STARTUP, version=4))
        read_frame(client)
        client.sendall(request(Opcode.QUERY, b"\0\0\xff\xffSELECT", version=4))
        _, _, opcode, body = read_frame(client)
        assert (opcode, body[:4]) == (Opcode.ERROR, b"\0\0\0\x0a")
        client.sendall(request(0x55, version=4))
        assert b"Unexpected message 0x55" in read_frame(client)[3]
        client.sendall(request(Opcode.OPTIONS, version=4))
        assert read_frame(client)[2] == Opcode.SUPPORTED
