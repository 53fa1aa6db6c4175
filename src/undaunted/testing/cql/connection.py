"""One client's connection to a node: bytes in, frames out, and what the protocol remembers of a client."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, cast

from undaunted.testing.cql.errors import CqlError, ProtocolError
from undaunted.testing.cql.frames import BrokenFrameError, FrameReader, Opcode, pack_frame, pack_segments

if TYPE_CHECKING:
    from undaunted.testing.cql.frames import Frame
    from undaunted.testing.cql.node import FakeNode

__all__ = ["Connection"]


class Connection(asyncio.Protocol):
    """A connection.

    Attributes:
        number: In the order of arrival at the cluster, from 1.
        keyspace: That the client uses.
        version: Of the protocol, as the client's last frame says.
        ready: Whether the handshake is done.
        events: Kinds of events that the client has registered for.
    """

    def __init__(self, node: FakeNode, number: int, raw: socket.socket) -> None:
        self._node = node
        self._raw = raw
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._is_cut = False
        self.number = number
        self.keyspace: str | None = None
        self.version = 0
        self.ready = False
        self.events: frozenset[str] = frozenset()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is there."""
        self._transport = cast("asyncio.Transport", transport)
        if self._is_cut:
            self._transport.abort()
        elif self._paused:
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """It has ended, from either side."""
        self._node.forget(self)

    def data_received(self, data: bytes) -> None:
        """Handle each frame that is whole now."""
        try:
            for frame in self._reader.feed(data):
                self.version = frame.version
                self._node.handle(self, frame)
        except BrokenFrameError as error:
            self.send(0, Opcode.ERROR, ProtocolError(str(error)).encode(4, "ONE"))
            self.close()

    @property
    def is_open(self) -> bool:
        """Whether anything can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, stream: int, opcode: int, body: bytes, *, version: int | None = None) -> None:
        """Send one frame."""
        if self._transport is None or self._transport.is_closing():
            return
        frame = pack_frame(version or self.version, stream, opcode, body)
        self._transport.write(pack_segments(frame) if self._reader.segmented else frame)

    def refuse(self, frame: Frame, error: CqlError, *, version: int | None = None, consistency: str = "ONE") -> None:
        """Answer an error."""
        spoken = version or frame.version
        self.send(frame.stream, Opcode.ERROR, error.encode(spoken, consistency), version=spoken)

    def wrap(self) -> None:
        """From here on both sides wrap frames in segments."""
        self._reader.segmented = True

    def push(self, kind: str, body: bytes) -> None:
        """Send an event, where the client wants such."""
        if kind in self.events:
            self.send(-1, Opcode.EVENT, body)

    def pause(self) -> None:
        """Leave what arrives in the kernel's buffers, as a stopped process does."""
        self._paused = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Go on with it."""
        self._paused = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        """Close after what is still to be sent."""
        if self._transport is not None:
            self._transport.close()

    def cut(self) -> None:
        """Close at once; while the loop is still making the transport, end the stream and close with it."""
        self._is_cut = True
        if self._transport is not None:
            self._transport.abort()
        else:
            with contextlib.suppress(OSError):  # the client was faster
                self._raw.shutdown(socket.SHUT_RDWR)

    def abandon(self) -> None:
        """Close the file descriptor alone: where nothing else is ours, or there is no more."""
        self._raw.close()
