"""Frames cut into packets at one end of a route, and put together at the other, in order."""

import struct

from .errors import PacketError
from .packet import Packet

Frame = tuple[bytes, memoryview]
"""The header and the payload of a message."""

_LENGTH = struct.Struct("<I")  # of the header: it travels in front of the payload


def join(header: bytes, payload: bytes | memoryview) -> bytes:
    """A frame as one piece of bytes, to be cut."""
    return b"".join((_LENGTH.pack(len(header)), header, payload))


def split(body: bytes) -> Frame:
    """The frame that `join` joined.

    Raises:
        PacketError: the bytes are shorter than the frame.
    """
    start = _LENGTH.size
    if len(body) < start or len(body) < start + (length := _LENGTH.unpack_from(body)[0]):
        raise PacketError(f"{len(body)} bytes of a frame", "its header and its payload")
    view = memoryview(body)
    return body[start : start + length], view[start + length :]


class Reassembly:
    """Puts together the messages that end at one chip, in one run."""

    def __init__(self) -> None:
        self._pieces: dict[tuple[int, int], list[bytes]] = {}  # of (src, order)
        self._complete: dict[tuple[int, int], Frame] = {}  # that wait for an earlier one
        self._next_order: dict[int, int] = {}

    @property
    def num_unfinished(self) -> int:
        """Messages that are incomplete, or wait for an earlier one."""
        return len(self._pieces) + len(self._complete)

    def take(self, packet: Packet) -> list[Frame]:
        """A packet has come; the frames from its source that are now next.

        Raises:
            PacketError: the packet is not the next piece of its message.
        """
        key = packet.src, packet.order
        pieces = self._pieces.get(key, [])
        if packet.piece != len(pieces) or packet.order < self._next_order.get(packet.src, 0):
            raise PacketError(
                f"piece {packet.piece} of message {packet.order} of chip {packet.src}",
                f"piece {len(pieces)}",
            )
        pieces.append(packet.payload)
        if len(pieces) < packet.num_pieces:
            self._pieces[key] = pieces
            return []
        self._pieces.pop(key, None)
        self._complete[key] = split(b"".join(pieces))
        return self._in_order(packet.src)

    def _in_order(self, src: int) -> list[Frame]:
        order = self._next_order.get(src, 0)
        frames = []
        while (frame := self._complete.pop((src, order), None)) is not None:
            frames.append(frame)
            order += 1
        self._next_order[src] = order
        return frames
