"""A chip's end of a mesh whose schedule is explored: frames in this process, order by the dice.

    ends = open_explored(Exploration(num_chips, seed))

Limits of waits do not apply: a wait ends with a frame, with an abort, or with FabricHang at a
standstill; so RecvTimeout and SendTimeout are never raised. Sending takes any number of bytes at
once. A program that polls with short limits would poll in vain.
"""

import sys
from collections.abc import Callable, Sequence

from ..errors import PeerAborted, TransportClosed, UnknownRank
from ..waits import Activity, ChipStatus
from .base import SEND_TIMEOUT_S, Address, Buffer, TransportStatistics, flat
from .exploration import Exploration, Message
from .flight import new_recorder

HOST_ID = "explored"
_PACKAGE = __name__.split(".", 1)[0]
_OWN = tuple(f"{_PACKAGE}.{floor}." for floor in ("chip", "fabric", "collectives", "mesh"))


class ExploredTransport:
    """A chip's end of an Exploration. See Transport for what is not said here."""

    def __init__(
        self, exploration: Exploration, rank: int, peers: "list[ExploredTransport]"
    ) -> None:
        self._exploration, self._rank, self._peers = exploration, rank, peers
        self._inbox: list[Message] = []  # in the order of arrival, of this run and later ones
        self._run_id = 0
        self._aborted: tuple[int, int] | None = None  # run id, rank
        self._sent, self._received = [0, 0], [0, 0]  # frames, bytes
        self._num_dropped = 0
        self._closed = False
        self.recorder = new_recorder(rank)
        exploration.open_mailbox(rank, self._deliver)

    @property
    def rank(self) -> int:
        """The chip this end belongs to."""
        return self._rank

    @property
    def address(self) -> Address:
        """A name only: the ends of an exploration know each other."""
        return Address(self._rank, HOST_ID, None, None)

    def connect(self, addresses: Sequence[Address]) -> None:
        """Nothing to do."""
        self._check_open()

    def flights(self) -> dict[int, memoryview]:
        """None: an exploration knows a standstill when it sees one."""
        return {}

    def window(self, group: tuple[int, ...], channel: int) -> None:
        """None: collectives exchange messages, step by step."""
        self._check_open()

    def send(
        self,
        dst: int,
        header: bytes,
        payload: Buffer | None = None,
        timeout_s: float = SEND_TIMEOUT_S,
    ) -> None:
        """Send a frame; the baton goes round."""
        self._check_peer(dst)
        body = bytes(flat(payload))
        self._sent[0] += 1
        self._sent[1] += len(header) + len(body)
        self._exploration.post(dst, self._run_id, self._rank, bytes(header), body)

    def recv(self, src: int, timeout_s: float) -> tuple[bytes, bytes]:
        """The next frame of this run from `src`.

        Raises:
            FabricHang: nobody can go on and nothing is under way.
            PeerAborted: a chip aborted the run.
        """
        self._check_peer(src)
        message = self._take((src,), "recv", None)
        return message.header, message.payload

    def recv_any(
        self, timeout_s: float, wanted: Callable[[bytes], bool] | None = None
    ) -> tuple[int, bytes, bytes]:
        """The frame of this run that arrived first, whoever sent it: source, header, payload.

        With `wanted`, a chip whose next frame has a header that is not wanted is passed over: the
        frames of one chip are never taken out of order.
        """
        self._check_open()
        others = tuple(rank for rank in range(len(self._peers)) if rank != self._rank)
        message = self._take(others, "recv_any", wanted)
        return message.src, message.header, message.payload

    def abort(self, run_id: int) -> None:
        """Wake every chip that waits in this run, with PeerAborted."""
        for end in self._peers:
            if end._aborted is None or end._aborted[0] < run_id:
                end._aborted = (run_id, self._rank)
        self._exploration.look_again()

    def begin_run(self, run_id: int) -> None:
        """Start a run: frames of earlier runs are dropped, here or when they arrive."""
        self._check_open()
        if run_id < self._run_id:
            raise ValueError(f"run_id (={run_id}) must be >= {self._run_id}")
        self._run_id = run_id
        kept = [message for message in self._inbox if message.run_id >= run_id]
        self._num_dropped += len(self._inbox) - len(kept)
        self._inbox = kept

    def statistics(self) -> TransportStatistics:
        """What was carried so far."""
        sent, received = self._sent, self._received
        return TransportStatistics(sent[0], sent[1], received[0], received[1], self._num_dropped)

    def close(self) -> None:
        """Forget all frames; whoever waits for this chip waits in vain."""
        self._closed = True
        self._inbox.clear()
        self._exploration.note_closed(self._rank)

    def _take(
        self, srcs: tuple[int, ...], name: str, wanted: Callable[[bytes], bool] | None
    ) -> Message:
        any_of = name == "recv_any"
        where = f"{name} at {program_line()}"
        status = ChipStatus(Activity.WAITING, srcs, where, any_of=any_of)

        def first() -> int | None:
            return self._first(srcs if not any_of else None, wanted)

        self._exploration.wait_until(
            self._rank, lambda: first() is not None or self._is_aborted(), status
        )
        index = first()
        if index is None:
            assert self._aborted is not None, "the wait ended for one of two reasons"
            raise PeerAborted(self._rank, self._aborted[1], self._run_id)
        message = self._inbox.pop(index)
        self._exploration.take(self._rank, message, any_of, where)
        self._received[0] += 1
        self._received[1] += len(message.header) + len(message.payload)
        return message

    def _first(
        self, srcs: tuple[int, ...] | None, wanted: Callable[[bytes], bool] | None
    ) -> int | None:
        """Where in the inbox the frame lies that may be taken next."""
        passed_over = set()
        for index, message in enumerate(self._inbox):
            if message.run_id != self._run_id or (srcs is not None and message.src not in srcs):
                continue
            if wanted is None:
                return index
            if message.src not in passed_over and wanted(message.header):
                return index
            passed_over.add(message.src)
        return None

    def _deliver(self, message: Message) -> None:
        if self._closed or message.run_id < self._run_id:
            self._num_dropped += 1
        else:
            self._inbox.append(message)

    def _is_aborted(self) -> bool:
        return self._aborted is not None and self._aborted[0] == self._run_id

    def _check_peer(self, rank: int) -> None:
        self._check_open()
        if not 0 <= rank < len(self._peers):
            raise UnknownRank(rank, len(self._peers), "not in this exploration")

    def _check_open(self) -> None:
        if self._closed:
            raise TransportClosed(self._rank)


def open_explored(exploration: Exploration) -> tuple[ExploredTransport, ...]:
    """The end of every chip, by rank."""
    ends: list[ExploredTransport] = []
    ends += [ExploredTransport(exploration, rank, ends) for rank in range(exploration.num_chips)]
    return tuple(ends)


def program_line() -> str:
    """The file and line of the caller's program: the nearest one above this emulator's floors."""
    frame = sys._getframe(1)
    while frame.f_globals.get("__name__", "").startswith(_OWN) and frame.f_back is not None:
        frame = frame.f_back
    return f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}"
