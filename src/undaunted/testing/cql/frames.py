"""Frames, and the checksummed segments that version 5 wraps them in once STARTUP is answered.

Source: sections 2 of the native protocol specifications, versions 4 and 5.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BrokenFrameError", "Frame", "FrameReader", "Opcode", "crc24", "crc32", "pack_frame", "pack_segments"]

HEADER = 9
MAX_PAYLOAD = 0x1FFFF
_RESPONSE = 0x80
_SELF_CONTAINED = 1 << 17
_CRC24_START, _CRC24_POLYNOMIAL = 0x875060, 0x1974F0B
_CRC32_START = zlib.crc32(b"\xfa\x2d\x55\xca")
_MAX_BODY = 256 * 1024 * 1024


class Opcode(IntEnum):
    """What a frame is."""

    ERROR = 0x00
    STARTUP = 0x01
    READY = 0x02
    AUTHENTICATE = 0x03
    OPTIONS = 0x05
    SUPPORTED = 0x06
    QUERY = 0x07
    RESULT = 0x08
    PREPARE = 0x09
    EXECUTE = 0x0A
    REGISTER = 0x0B
    EVENT = 0x0C
    BATCH = 0x0D
    AUTH_CHALLENGE = 0x0E
    AUTH_RESPONSE = 0x0F
    AUTH_SUCCESS = 0x10


class BrokenFrameError(Exception):
    """What arrived is no frame: a checksum is wrong, or a length is not to be believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One message.

    Attributes:
        version: Of the protocol.
        flags: As they arrived.
        stream: What the answer must carry.
        opcode: What it is; a number that no version knows is kept as it came.
        body: The bytes behind the header.
    """

    version: int
    flags: int
    stream: int
    opcode: int
    body: bytes


def crc24(data: bytes) -> int:
    """The checksum of a segment's header."""
    crc = _CRC24_START
    for octet in data:
        crc ^= octet << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= _CRC24_POLYNOMIAL
    return crc


def crc32(data: bytes) -> int:
    """The checksum of a segment's payload."""
    return zlib.crc32(data, _CRC32_START)


def pack_frame(version: int, stream: int, opcode: int, body: bytes) -> bytes:
    """A frame that goes to a client."""
    return struct.pack(">BBhBi", version | _RESPONSE, 0, stream, opcode, len(body)) + body


def pack_segments(frame: bytes) -> bytes:
    """The frame as one segment, or as many as its length needs."""
    whole = len(frame) <= MAX_PAYLOAD
    return b"".join(
        _segment(frame[start : start + MAX_PAYLOAD], _SELF_CONTAINED if whole else 0)
        for start in range(0, len(frame), MAX_PAYLOAD)
    )


def _segment(payload: bytes, flag: int) -> bytes:
    header = (len(payload) | flag).to_bytes(3, "little")
    return header + crc24(header).to_bytes(3, "little") + payload + crc32(payload).to_bytes(4, "little")


class FrameReader:
    """Makes frames out of what arrives, in whatever pieces.

    Attributes:
        segmented: Whether what follows is wrapped in segments.
    """

    __slots__ = ("_frames", "_wire", "segmented")

    def __init__(self) -> None:
        self._wire = bytearray()
        self._frames = bytearray()
        self.segmented = False

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Frames that are whole now.

        `segmented` may be set between two of them: it then holds for the rest.

        Raises:
            BrokenFrameError: The rest cannot be read.
        """
        self._wire += data
        while True:
            if self.segmented:
                self._unwrap()
            frame = self._frame(self._frames if self.segmented else self._wire)
            if frame is None:
                return
            yield frame

    def _unwrap(self) -> None:
        while len(self._wire) >= 6:
            header = bytes(self._wire[:3])
            if crc24(header) != int.from_bytes(self._wire[3:6], "little"):
                raise BrokenFrameError(f"the checksum of the segment header {header.hex()} is wrong")
            end = 6 + (int.from_bytes(header, "little") & MAX_PAYLOAD)
            if len(self._wire) < end + 4:
                return
            payload = bytes(self._wire[6:end])
            if crc32(payload) != int.from_bytes(self._wire[end : end + 4], "little"):
                raise BrokenFrameError(f"the checksum of a segment of {len(payload)} bytes is wrong")
            del self._wire[: end + 4]
            self._frames += payload

    @staticmethod
    def _frame(buffer: bytearray) -> Frame | None:
        if len(buffer) < HEADER:
            return None
        version, flags, stream, opcode, length = struct.unpack_from(">BBhBi", buffer)
        if version & _RESPONSE:
            raise BrokenFrameError(f"a client sent the version byte {version:#04x}, which marks an answer")
        if not 0 <= length <= _MAX_BODY:
            raise BrokenFrameError(f"a frame of {length} bytes was announced")
        if len(buffer) < HEADER + length:
            return None
        body = bytes(buffer[HEADER : HEADER + length])
        del buffer[: HEADER + length]
        return Frame(version=version, flags=flags, stream=stream, opcode=opcode, body=body)
