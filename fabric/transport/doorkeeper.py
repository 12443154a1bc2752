"""Who may connect to a chip's port: refuses all but chips of the mesh, and counts the refused.

A thread of its own answers libzmq's question who may come in (ZAP, rfc.zeromq.org/spec/27). What an
admitted chip sends carries its rank as User-Id from then on, so that it cannot pass for another.

The thread listens to the socket's monitor too. A connection that ends before its handshake has
succeeded was refused: not every refusal has an event of its own (plain text has none). The event
of a success does not say whose it is; it is put down to the latest of those that are shaking hands,
since a chip takes milliseconds and a silent stranger half a minute.
"""

import os
import threading
from collections.abc import Mapping
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message
from zmq.utils.z85 import encode

from ..auth import Keys

_DOMAIN = "meshtwin"
_EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED


class Doorkeeper:
    """Keeps the door of one socket; made before the socket is bound."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        socket: "zmq.Socket[bytes]",
        keys: Keys | None,
    ) -> None:
        self.num_refused = 0  # connections; one that is tried again counts again
        self._shaking_hands: dict[int, None] = {}  # file descriptors of connections
        self._socket = socket
        self._ranks = {public: rank for rank, public in enumerate(keys.publics)} if keys else {}
        self._zap = context.socket(zmq.REP)
        self._zap.linger = 0
        if keys is not None:
            self._zap.bind("inproc://zeromq.zap.01")
            socket.zap_domain = _DOMAIN.encode()
            socket.curve_server = True
            socket.curve_publickey, socket.curve_secretkey = keys.public, keys.secret
        self._monitor = socket.get_monitor_socket(_EVENTS)
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._work, name="doorkeeper", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; the socket is to be closed next."""
        self._socket.disable_monitor()  # first: without a reader, events would stop libzmq's thread
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        os.close(self._stop)

    def _work(self) -> None:
        poller = zmq.Poller()
        for door in (self._zap, self._monitor, self._stop):
            poller.register(door, zmq.POLLIN)
        while self._stop not in (came := dict(poller.poll())):
            if self._zap in came:
                self._zap.send_multipart(self._answer(self._zap.recv_multipart()))
            if self._monitor in came:
                self._note(recv_monitor_message(self._monitor))
        self._zap.close()
        self._monitor.close()

    def _note(self, event: Mapping[str, Any]) -> None:
        kind, fd = event["event"], event["value"]
        if kind == zmq.EVENT_ACCEPTED:
            self._shaking_hands[fd] = None
        elif kind == zmq.EVENT_DISCONNECTED:
            if fd in self._shaking_hands:
                del self._shaking_hands[fd]
                self.num_refused += 1
        elif self._shaking_hands:
            self._shaking_hands.popitem()

    def _answer(self, question: list[bytes]) -> list[bytes]:
        """The reply to (version, request, domain, address, identity, mechanism, credentials)."""
        version, request, _, _, _, mechanism, *credentials = question
        rank = self._ranks.get(encode(credentials[0])) if mechanism == b"CURVE" else None
        if rank is None:
            return [version, request, b"400", b"no chip of this mesh", b"", b""]
        return [version, request, b"200", b"OK", str(rank).encode(), b""]
