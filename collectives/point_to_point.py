"""Tensors from one chip straight to another: send and recv."""

from dataclasses import dataclass, field

import numpy as np

from ..chip.chip import Chip
from ..chip.dtype import DType
from ..chip.record import OpRecord
from ..chip.tensor import Layout, Tensor, tensor_spec
from ..fabric.errors import RecvTimeout
from ..fabric.flight_recorder import FlightRecorder
from ..fabric.link import LinkCounters
from ..fabric.topology import Box
from .algorithms.direct import direct
from .call import Call
from .errors import CollectiveError, CollectiveTimeout
from .faulty import Faulty, Passage
from .mailbox import Mailbox
from .operation import Operation
from .plan import Plan, make_plan
from .simulate import Traffic as LinkTraffic
from .site import Site, line_of

SEND = "send"


@dataclass(slots=True)
class Traffic:
    """What a chip sent and received in a run: how many, and the texts of what it sent."""

    sent: dict[int, list[str]] = field(default_factory=dict)
    received: dict[int, int] = field(default_factory=dict)


class PointToPoint:
    """One chip's sends and receives. The n-th recv from a chip gets its n-th send to this one.

    A send is a broadcast to one chip over the route between the two, hop by hop, in simulated
    time; it does not wait for the receiver. Other messages on those links are not accounted for.
    """

    def __init__(
        self,
        box: Box,
        mailbox: Mailbox,
        recorder: FlightRecorder,
        timeout_s: float,
        counters: LinkCounters,
        faulty: Faulty | None = None,
    ) -> None:
        self.faulty = faulty
        self.box, self.mailbox, self.recorder = box, mailbox, recorder
        self.timeout_s = timeout_s
        self.counters = counters
        self.traffic = Traffic()

    def begin_run(self) -> None:
        """Number messages from zero again."""
        self.traffic = Traffic()

    def send(self, chip: Chip, x: Tensor, dst: int, site: Site) -> None:
        """Send `x` to chip `dst`; returns when it is under way.

        Raises:
            CollectiveError: `dst` is no other chip of the box, or the tensor has no values.
        """
        self._check(chip.rank, dst, "send to")
        chip.check_alive("send", x)
        if x.storage is None:
            raise CollectiveError("send: a plan's tensor has no values to send")
        sent = self.traffic.sent.setdefault(dst, [])
        words = f"send to {dst} at {line_of(site)}"
        start_ps = chip.clock.now_ps
        self.recorder.enter(words, -1, start_ps)
        plan = self._plan(chip.rank, dst, x.shape, x.dtype)
        exit_ps, passage, traffic = self._way(plan, start_ps)
        fields: dict[str, object] = {
            "shape": list(x.shape), "dtype": x.dtype.label, "layout": x.layout.value,
            "sim_ps": exit_ps[1 - plan.position],
        }  # fmt: skip
        self.mailbox.send(dst, SEND, "", len(sent), fields, x.storage, passage)
        sent.append(f"{x.dtype.label} {x.shape} at {line_of(site)}")
        chip.clock.wait_until(exit_ps[plan.position])
        for (a, b), (num_bytes, messages) in traffic.items():
            self.counters.add(a, b, num_bytes, messages)
        group = (chip.rank, dst)
        self._note(chip, "send", group, x.shape, x.dtype, start_ps, plan.bytes_sent)

    def recv(self, chip: Chip, src: int | None, site: Site) -> Tensor:
        """The next tensor from chip `src` (None: from whoever comes first).

        Raises:
            CollectiveError: `src` is no other chip of the box.
            CollectiveTimeout: nothing came in time.
        """
        received = self.traffic.received
        words = f"recv({'' if src is None else src}) at {line_of(site)}"
        self.recorder.enter(words, -1, chip.clock.now_ps)
        try:
            if src is None:
                if not self.mailbox.others:
                    self._check(chip.rank, chip.rank, "receive from")
                header, payload = self.mailbox.receive_any(SEND, received, self.timeout_s)
            else:
                self._check(chip.rank, src, "receive from")
                number = received.get(src, 0)
                header, payload = self.mailbox.receive(src, SEND, "", number, self.timeout_s)
        except RecvTimeout as error:
            what = f"recv({'' if src is None else src}) at {line_of(site)}"
            raise CollectiveTimeout(chip.rank, what, error.src, error.waited_s) from error
        src = header.src
        received[src] = received.get(src, 0) + 1
        shape, dtype = tuple(header.fields["shape"]), DType.parse(header.fields["dtype"])
        spec = tensor_spec(shape, dtype, Layout(header.fields["layout"]))
        result = chip.adopt(spec, None, "recv")
        result.storage = np.frombuffer(payload, dtype.numpy).reshape(spec.storage_shape).copy()
        start = chip.clock.now_ps
        chip.clock.wait_until(header.fields["sim_ps"])  # when it came, without our help
        self._note(chip, "recv", (src, chip.rank), shape, dtype, start, 0)
        return result

    def _plan(self, src: int, dst: int, shape: tuple[int, ...], dtype: DType) -> Plan:
        """The message as a broadcast from `src` to one other."""
        call = Call(
            Operation.BROADCAST, shape, dtype, (min(src, dst), max(src, dst)), root=src,
            where=f"from chip {src} to chip {dst}",
        )  # fmt: skip
        return make_plan(self.box, src, call, direct)

    def _way(
        self, plan: Plan, start_ps: int
    ) -> tuple[tuple[int, ...], Passage | None, LinkTraffic]:
        """When both chips are done with a message sent at `start_ps`, how it goes, over what."""
        faulty = self.faulty
        if faulty is None:
            return plan.exits_ps((start_ps, start_ps)), None, plan.traffic
        start_ps = faulty.enter(start_ps)
        plan = faulty.plan(plan, direct, start_ps)
        num_sent = [0, 0]
        num_sent[plan.position] = faulty.num_sent
        timing = faulty.timing(plan, (start_ps, start_ps), tuple(num_sent))
        passages = faulty.passages(plan, timing)
        passage = passages[0] if passages else None
        return timing.sim_exit_ps, passage, timing.traffic[plan.position]

    def _check(self, rank: int, other: int, what: str) -> None:
        if other == rank or not 0 <= other < self.box.num_chips:
            raise CollectiveError(
                f"{what} chip {other}: chip {rank} of {self.box.name} can exchange tensors with "
                f"chips 0 to {self.box.num_chips - 1} other than itself"
            )

    def _note(
        self,
        chip: Chip,
        name: str,
        group: tuple[int, int],
        shape: tuple[int, ...],
        dtype: DType,
        start: int,
        sent: int,
    ) -> None:
        duration_ps = chip.clock.now_ps - start
        dtypes = (dtype.label, dtype.label)
        shapes = (shape,)
        chip.recorder.add(
            OpRecord(
                name, shapes, shapes, dtypes, start, duration_ps, sent, 0, "fabric", group=group
            )
        )
