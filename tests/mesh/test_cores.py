"""Spreading chips over the cores of a host."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from meshtwin.fabric.transport.base import Address
from meshtwin.mesh.cores import core_of


def addresses(hosts: list[str]) -> list[Address]:
    return [Address(rank, host, None, None) for rank, host in enumerate(hosts)]


@given(
    hosts=st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=32),
    cores=st.lists(st.integers(0, 63), min_size=1, max_size=8, unique=True),
)
def test_chips_of_a_host_are_spread_evenly_when_they_outnumber_its_cores(
    hosts: list[str], cores: list[int]
) -> None:
    everybody = addresses(hosts)
    for host in set(hosts):
        local = [address.rank for address in everybody if address.host_id == host]
        chosen = [core_of(rank, everybody, cores) for rank in local]
        if len(local) <= len(cores):
            assert set(chosen) == {None}
        else:
            counts = Counter(chosen)
            assert set(counts) == set(cores)
            assert max(counts.values()) - min(counts.values()) <= 1
