"""One process of a peer in bench_collectives.py, which starts it; not meant to be run by hand.

    python collective_worker.py KIND FOLDER RANK NUM_RANKS      # KIND: mpi, gloo or copy

Between measurements every process sleeps in a read of its own FIFO: ranks that waited in a barrier
would spin and take the cores from the others. A command is a line of JSON, and so is the answer.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from meshtwin.chip.dtype import DType
from meshtwin.collectives.bench import COLLECTIVES, Array, Inputs

Call: TypeAlias = Callable[[], Array]
"""One collective on buffers that stay; gives the output."""


class Mpi:
    """mpi4py on Open MPI, out of place."""

    def __init__(self, folder: Path, rank: int, num_ranks: int) -> None:
        from mpi4py import MPI

        self.world, self.sum = MPI.COMM_WORLD, MPI.SUM
        self.rank, self.num_ranks = self.world.Get_rank(), self.world.Get_size()
        self.barrier = self.world.Barrier

    def call(self, collective: str, x: Array, y: Array) -> Call:
        """A call of `collective` from x to y."""

        def run() -> Array:
            if collective == "all_reduce":
                self.world.Allreduce(x, y, self.sum)
            elif collective == "all_gather":
                self.world.Allgather(x, y)
            else:
                self.world.Reduce_scatter_block(x, y, self.sum)
            return y

        return run


class Gloo:
    """torch.distributed with gloo. Its all_reduce is in place, so the input is copied first."""

    def __init__(self, folder: Path, rank: int, num_ranks: int) -> None:
        import torch
        import torch.distributed as dist

        torch.set_num_threads(1)
        meet = f"file://{folder / 'rendezvous'}"
        dist.init_process_group("gloo", init_method=meet, rank=rank, world_size=num_ranks)
        self.torch, self.dist = torch, dist
        self.rank, self.num_ranks = rank, num_ranks
        self.barrier = dist.barrier

    def call(self, collective: str, x: Array, y: Array) -> Call:
        """A call of `collective` from x to y."""
        given, out = self.torch.from_numpy(x), self.torch.from_numpy(y)

        def run() -> Array:
            if collective == "all_reduce":
                out.copy_(given)
                self.dist.all_reduce(out)
            elif collective == "all_gather":
                self.dist.all_gather_into_tensor(out, given)
            else:
                self.dist.reduce_scatter_tensor(out, given)
            return y

        return run


@cache
def buffers(inputs: Inputs, collective: str, rank: int, count: int) -> tuple[Array, Array, Array]:
    """Input, output and expected output; `count` elements are the whole tensor."""
    kind = COLLECTIVES[collective]
    x = inputs.of(rank, 0, count // inputs.num_ranks if kind.puts_in_part else count)
    expected = kind.expected(inputs, rank, 0, count)
    assert expected is not None
    return x, np.empty_like(expected), expected


def measure(peer: Mpi | Gloo, command: dict[str, Any]) -> dict[str, Any]:
    """The mean wall time of a call on this rank, and how many elements of its result are wrong."""
    collective = command["collective"]
    reduction = "sum" if COLLECTIVES[collective].operation.reduces else None
    inputs = Inputs(peer.num_ranks, DType.FLOAT32, reduction)
    x, y, expected = buffers(inputs, collective, peer.rank, command["count"])
    call = peer.call(collective, x, y)
    y.fill(np.nan)
    for _ in range(command["warmup"]):
        call()
    peer.barrier()
    start = time.perf_counter()
    for _ in range(command["iterations"]):
        call()
    wall_s = (time.perf_counter() - start) / command["iterations"]
    return {"wall_s": wall_s, "num_wrong": int(np.count_nonzero(y != expected))}


class Copy:
    """No collective: numpy copies one whole tensor for each rank; the processes share them out."""

    def __init__(self, folder: Path, rank: int, num_ranks: int) -> None:
        self.rank, self.num_processes = rank, num_ranks
        self._held: tuple[tuple[int, int], list[tuple[Array, Array]]] = ((0, 0), [])

    def measure(self, command: dict[str, Any]) -> dict[str, Any]:
        """The mean wall time of this process's share."""
        key = (command["count"], command["num_ranks"])
        if self._held[0] != key:
            mine = range(self.rank, command["num_ranks"], self.num_processes)
            x = np.ones(command["count"], np.float32)
            self._held = (key, [(x.copy(), x.copy()) for _ in mine])
        for number in range(command["warmup"] + command["iterations"]):
            if number == command["warmup"]:
                start = time.perf_counter()
            for source, target in self._held[1]:
                np.copyto(target, source)
        return {"wall_s": (time.perf_counter() - start) / command["iterations"], "num_wrong": 0}


KINDS: dict[str, type[Mpi] | type[Gloo] | type[Copy]] = {"mpi": Mpi, "gloo": Gloo, "copy": Copy}


def main(kind: str, folder: Path, rank: int, num_ranks: int) -> None:
    """Answer commands until the driver closes its end."""
    peer = KINDS[kind](folder, rank, num_ranks)
    replies = os.open(folder / "replies", os.O_WRONLY)
    with (folder / f"commands.{peer.rank}").open() as commands:
        os.write(replies, b"{}\n")  # ready; a line this short is written in one piece
        for line in commands:
            command = json.loads(line)
            try:
                answer = peer.measure(command) if isinstance(peer, Copy) else measure(peer, command)
            except RuntimeError as error:  # what torch raises where gloo lacks an operation
                answer = {"error": str(error).splitlines()[0][:200]}
            os.write(replies, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
