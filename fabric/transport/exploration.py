"""One schedule of a mesh, drawn from a seed: who goes next, and which message arrives next.

The chips' programs run in threads of this process, one at a time. At every send and receive a chip
hands the baton back, and the dice choose among the chips that can go on and the messages that are
under way. Messages of a pair stay in order, as a Transport promises; nothing else does. On every
second seed some chips and some pairs are slow, so that a message may be overtaken by many others.

The wall clock plays no part, so a seed is a schedule, exactly. When nobody can go on and nothing is
under way, that is a standstill: every chip that waits gets FabricHang, with the proof.
"""

import hashlib
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from ..errors import FabricError, FabricHang
from ..routing import route
from ..topology import Box
from ..waits import Activity, ChipStatus, verdict
from .baton import Baton

Pair: TypeAlias = tuple[int, int]
_IS_SLOW = 0.25  # of chips and pairs, on seeds with slow ones
_SLOWNESS = (0.9, 0.99, 0.999)  # how often something fast goes first, when there is something


class Event(NamedTuple):
    """What happened on a chip, by step of the schedule."""

    step: int
    chip: int
    what: str


class Receipt(NamedTuple):
    """A message taken by a chip: from whom, by which line, and whether others would have done."""

    step: int
    chip: int
    src: int
    any_of: bool
    where: str


@dataclass(frozen=True, slots=True)
class Message:
    """A frame under way or arrived; numbered by pair."""

    src: int
    number: int
    run_id: int
    header: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class Ending:
    """How a chip's program ended: with a result or with an error, and at which step."""

    result: Any
    error: BaseException | None
    step: int


class Exploration:
    """The schedule of one seed.

    Attributes:
        log: everything that happened, in order. The same seed gives the same log.
        receipts: every message that a program took, in order.

    Args:
        num_chips: how many programs run.
        seed: of the schedule.
        box: when given, a message goes from chip to chip along its route, a step each; otherwise
            it arrives in one step.
    """

    def __init__(self, num_chips: int, seed: int, box: Box | None = None) -> None:
        if box is not None and box.num_chips != num_chips:
            raise ValueError(f"num_chips (={num_chips}) must be {box.num_chips}, as {box.name} has")
        self.num_chips, self.seed, self.box = num_chips, seed, box
        self.log: list[Event] = []
        self.receipts: list[Receipt] = []
        self._dice = random.Random(seed)
        self._slow = self._draw_slow() if seed % 2 else frozenset[int | Pair]()
        self._slowness = self._dice.choice(_SLOWNESS)
        self._step = 0
        self._running: int | None = None
        self._alive: list[int] = []
        self._ready = set(range(num_chips))
        self._waits: dict[int, tuple[Callable[[], bool], ChipStatus]] = {}
        self._hangs: dict[int, FabricHang] = {}
        self._closed: set[int] = set()
        self._under_way: dict[Pair, deque[tuple[Message, list[int]]]] = {}
        self._num_sent: dict[Pair, int] = {}
        self._mailboxes: dict[int, Callable[[Message], None]] = {}
        self._baton = Baton(self._choose)

    def run(self, programs: Sequence[Callable[[], Any]]) -> list[Ending]:
        """Run one program a chip under this schedule; how each ended, by chip. Once only."""
        if len(programs) != self.num_chips or self.log:
            raise ValueError(f"programs (={len(programs)}) must be {self.num_chips}, run once")
        endings: list[Ending] = [Ending(None, None, 0)] * self.num_chips

        def work(chip: int) -> None:
            result, error = None, None
            try:
                result = programs[chip]()
            except BaseException as raised:
                error = raised
            self.note(chip, f"raises {type(error).__name__}" if error else "ends its program")
            endings[chip] = Ending(result, error, self._step)
            self._alive.remove(chip)

        self._alive = list(range(self.num_chips))
        self._baton.run([partial(work, chip) for chip in self._alive])
        self._running = None
        return endings

    def digest(self) -> str:
        """A fingerprint of the log."""
        lines = (f"{step} {chip} {what}\n" for step, chip, what in self.log)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def note(self, chip: int, what: str) -> None:
        """Add an event to the log."""
        self.log.append(Event(self._step, chip, what))

    def wait_until(self, chip: int, is_ready: Callable[[], bool], status: ChipStatus) -> None:
        """Let others go on until `is_ready()`, and until the dice choose this chip again.

        A message that arrives is a reason to look; whoever else makes it ready calls `look_again`.

        Raises:
            FabricHang: nobody can go on; the proof is made of everybody's `status`.
        """
        self._check_turn(chip)
        self._waits[chip] = (is_ready, status)
        if not is_ready():
            self._ready.remove(chip)
        self._baton.offer(chip)
        del self._waits[chip]
        hang = self._hangs.pop(chip, None)
        if hang is not None:
            raise hang

    def look_again(self) -> None:
        """Something other than a message may have made waiting chips ready."""
        for chip in list(self._waits):  # any thread may abort
            self._look_at(chip)

    def post(self, dst: int, run_id: int, src: int, header: bytes, payload: bytes) -> None:
        """Put a message under way, and let others go on."""
        self._check_turn(src)
        pair = (src, dst)
        number = self._num_sent.get(pair, 0)
        self._num_sent[pair] = number + 1
        message = Message(src, number, run_id, header, payload)
        stops = [dst] if self.box is None or src == dst else list(route(self.box, src, dst)[1:])
        self._under_way.setdefault(pair, deque()).append((message, stops))
        num_bytes = len(header) + len(payload)
        self.note(src, f"sends message {number} to chip {dst} ({num_bytes} bytes)")
        self._baton.offer(src)

    def take(self, chip: int, message: Message, any_of: bool, where: str) -> None:
        """Note that a program took a message."""
        self.note(chip, f"takes message {message.number} of chip {message.src} in {where}")
        self.receipts.append(Receipt(self._step, chip, message.src, any_of, where))

    def open_mailbox(self, chip: int, deliver: Callable[[Message], None]) -> None:
        """Say what to call when a message arrives at a chip."""
        self._mailboxes[chip] = deliver

    def note_closed(self, chip: int) -> None:
        """The chip's end is closed: whoever waits for it waits in vain."""
        self._closed.add(chip)

    def _choose(self) -> int | None:
        """Move messages until the dice fall on a chip; None when all programs have ended."""
        dice = self._dice.random
        while self._alive:
            choices: list[int | Pair] = [chip for chip in self._alive if chip in self._ready]
            choices += self._under_way
            if not choices:
                self._stand_still()
                continue
            choice = choices[int(dice() * len(choices))]
            if choice in self._slow and dice() < self._slowness:
                fast = [one for one in choices if one not in self._slow]
                choice = fast[int(dice() * len(fast))] if fast else choice
            self._step += 1
            if isinstance(choice, int):
                self._running = choice
                return choice
            self._move(choice)
        return None

    def _look_at(self, chip: int) -> None:
        wait = self._waits.get(chip)
        if wait is not None and chip not in self._ready and wait[0]():
            self._ready.add(chip)

    def _move(self, pair: Pair) -> None:
        """Bring the first message of a pair to its next stop; the last one is its mailbox."""
        queue = self._under_way[pair]
        message, stops = queue[0]
        stop = stops.pop(0)
        if stops:
            self.note(stop, f"passes on message {message.number} of chip {pair[0]} to {pair[1]}")
            return
        self.note(stop, f"message {message.number} of chip {pair[0]} arrives")
        queue.popleft()
        if not queue:
            del self._under_way[pair]
        self._mailboxes[stop](message)
        self._look_at(stop)

    def _stand_still(self) -> None:
        statuses = {chip: self._status(chip) for chip in range(self.num_chips)}
        proof = verdict(statuses)
        assert proof is not None, "at a standstill everybody waits or has ended"
        for chip in self._alive:
            self.note(chip, f"hangs in {statuses[chip].what}")
            self._hangs[chip] = FabricHang(chip, *proof)
            self._ready.add(chip)

    def _status(self, chip: int) -> ChipStatus:
        if chip in self._waits:
            return self._waits[chip][1]
        return ChipStatus(Activity.CLOSED if chip in self._closed else Activity.ENDED)

    def _check_turn(self, chip: int) -> None:
        if self._running != chip:
            raise FabricError(f"chip {chip} must send and receive in its program's own thread")

    def _draw_slow(self) -> frozenset[int | Pair]:
        chips = range(self.num_chips)
        everything: list[int | Pair] = [*chips, *((a, b) for a in chips for b in chips)]
        return frozenset(one for one in everything if self._dice.random() < _IS_SLOW)
