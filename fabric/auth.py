"""The keys of a mesh: only its chips can read and write what goes over the network.

One CurveZMQ key pair for each chip, made by the driver and handed to the chips together with the
public keys of all. A chip lets in only who holds one of them, and whoever it is cannot pass for
another chip. The public keys are not published either: without that of a chip, nobody can even
start the handshake with it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import zmq


class Keys(NamedTuple):
    """What one chip holds."""

    public: bytes
    secret: bytes
    publics: tuple[bytes, ...]  # of every chip, by rank

    def __repr__(self) -> str:
        return f"Keys(of one chip of {len(self.publics)})"  # never in a log or a traceback


def new_keys(num_chips: int) -> Sequence[Keys | None]:
    """Fresh keys for each chip of a mesh; None where libzmq was built without CURVE."""
    if not zmq.has("curve"):
        return [None] * num_chips
    pairs = [zmq.curve_keypair() for _ in range(num_chips)]
    publics = tuple(public for public, _ in pairs)
    return [Keys(public, secret, publics) for public, secret in pairs]
