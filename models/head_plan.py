"""Which attention heads each chip holds, when the head counts need not divide by the chips.

The unit that is dealt out is a slot: one kv head with some of the query heads that read it. With
more chips than kv heads, a kv head is replicated into several slots that share its query heads;
otherwise a kv head is one slot. Slots are dealt to the chips in order, the same number to each;
what is left over is padding. A padded head has zero weights in q, k, v and o, so it adds exactly
zero and no result changes.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Slot:
    """One kv head on a chip and its query heads; None is padding (zero weights)."""

    kv_head: int | None
    query_heads: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class HeadPlan:
    """The slots of every chip. All chips hold the same number of heads, so shapes are equal."""

    slots: tuple[tuple[Slot, ...], ...]

    @property
    def num_kv_heads(self) -> int:
        """kv heads on a chip, padding included."""
        return len(self.slots[0])

    @property
    def num_query_heads(self) -> int:
        """Query heads on a chip, padding included."""
        return self.num_kv_heads * len(self.slots[0][0].query_heads)

    def query_heads(self, rank: int) -> tuple[int | None, ...]:
        """The query heads of a chip, kv head by kv head."""
        return tuple(head for slot in self.slots[rank] for head in slot.query_heads)

    def kv_heads(self, rank: int) -> tuple[int | None, ...]:
        """The kv heads of a chip."""
        return tuple(slot.kv_head for slot in self.slots[rank])


def plan_heads(num_heads: int, num_kv_heads: int, tp_size: int) -> HeadPlan:
    """Deal `num_heads` query heads and `num_kv_heads` kv heads to `tp_size` chips.

    Args:
        num_heads: a multiple of num_kv_heads.
    Example: 9 query and 3 kv heads. On 4 chips: 3 query heads and 1 kv head a chip, chip 3 is
        padding. On 32: each kv head is replicated 3 times, 1 query head a chip, 23 are padding.
    """
    if num_heads % num_kv_heads:
        raise ValueError(
            f"num_heads (={num_heads}) must be a multiple of num_kv_heads (={num_kv_heads})"
        )
    group = num_heads // num_kv_heads
    replicas = max(1, min(group, tp_size // num_kv_heads))
    width = -(-group // replicas)
    replicas = -(-group // width)
    slots = [
        Slot(kv_head, _padded(range(kv_head * group, (kv_head + 1) * group)[i * width :], width))
        for kv_head in range(num_kv_heads)
        for i in range(replicas)
    ]
    per_chip = -(-len(slots) // tp_size)
    slots += [Slot(None, (None,) * width)] * (per_chip * tp_size - len(slots))
    return HeadPlan(
        tuple(tuple(slots[rank * per_chip : (rank + 1) * per_chip]) for rank in range(tp_size))
    )


def _padded(heads: range, width: int) -> tuple[int | None, ...]:
    """The first `width` heads, filled up with padding."""
    return (*heads[:width], *(None,) * (width - len(heads[:width])))
