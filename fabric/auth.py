"""The key of a mesh: only its chips can read and write what goes over the network.

One CurveZMQ key pair for each mesh, made by the driver and handed to its chips. Its public half is
not published either: who does not hold it cannot even start the handshake.
"""

from typing import TypeAlias

import zmq

Keys: TypeAlias = tuple[bytes, bytes]  # public, secret


def new_keys() -> Keys | None:
    """A fresh key pair for a mesh about to open; None where libzmq was built without CURVE."""
    if not zmq.has("curve"):
        return None
    public, secret = zmq.curve_keypair()
    return public, secret
