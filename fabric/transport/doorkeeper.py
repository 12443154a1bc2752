"""Who may connect to a chip's port: refuses all but chips of the mesh, and counts the refused.

A thread of its own answers libzmq's question who may come in (ZAP, rfc.zeromq.org/spec/27) and
listens to the monitor of the socket for handshakes that fail. What an admitted chip sends carries
its rank as User-Id from then on, so that it cannot pass for another.
"""

import os
import threading

import zmq
from zmq.utils.monitor import recv_monitor_message
from zmq.utils.z85 import encode

from ..auth import Keys

_DOMAIN = "meshtwin"
_FAILURES = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)


class Doorkeeper:
    """Keeps the door of one socket; made before the socket is bound."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        socket: "zmq.Socket[bytes]",
        keys: Keys | None,
    ) -> None:
        self.num_refused = 0  # connections; one that is tried again counts again
        self._socket = socket
        self._ranks = {public: rank for rank, public in enumerate(keys.publics)} if keys else {}
        self._zap = context.socket(zmq.REP)
        self._zap.linger = 0
        if keys is not None:
            self._zap.bind("inproc://zeromq.zap.01")
            socket.zap_domain = _DOMAIN.encode()
            socket.curve_server = True
            socket.curve_publickey, socket.curve_secretkey = keys.public, keys.secret
        self._monitor = socket.get_monitor_socket(_FAILURES)
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._work, name="doorkeeper", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; the socket is to be closed next."""
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        os.close(self._stop)
        self._socket.disable_monitor()

    def _work(self) -> None:
        poller = zmq.Poller()
        for door in (self._zap, self._monitor, self._stop):
            poller.register(door, zmq.POLLIN)
        while self._stop not in (came := dict(poller.poll())):
            if self._zap in came:
                self._zap.send_multipart(self._answer(self._zap.recv_multipart()))
            if self._monitor in came:
                recv_monitor_message(self._monitor)
                self.num_refused += 1
        self._zap.close()
        self._monitor.close()

    def _answer(self, question: list[bytes]) -> list[bytes]:
        """The reply to (version, request, domain, address, identity, mechanism, credentials)."""
        version, request, _, _, _, mechanism, *credentials = question
        rank = self._ranks.get(encode(credentials[0])) if mechanism == b"CURVE" else None
        if rank is None:
            return [version, request, b"400", b"no chip of this mesh", b"", b""]
        return [version, request, b"200", b"OK", str(rank).encode(), b""]
