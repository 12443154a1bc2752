"""A mesh on a Ray cluster that was there before, and that stays there afterwards."""

import json
import socket
from collections.abc import Callable
from typing import TypeAlias

import pytest

from .driver import LIMIT_S, Driver, until

pytestmark = [pytest.mark.ray, pytest.mark.slow]
Start: TypeAlias = Callable[[str | list[str]], Driver]

CLUSTER = """
import json
import ray
from ray.cluster_utils import Cluster
from ray.util.placement_group import placement_group_table

def until(true):
    deadline = time.monotonic() + 30
    while not true() and time.monotonic() < deadline:
        time.sleep(0.1)
    return true()

def is_empty(address):
    "Are no actors, no placement group and all CPUs left on the cluster?"
    from ray._private.state import actors
    ray.init(address=address, logging_level="ERROR")
    groups = until(lambda: {g["state"] for g in placement_group_table().values()} <= {"REMOVED"})
    ended = until(lambda: {a["State"] for a in actors().values()} <= {"DEAD"})
    free = until(lambda: ray.available_resources().get("CPU") == ray.cluster_resources()["CPU"])
    ray.shutdown()
    return groups, ended, free

def node(chip):
    return ray.get_runtime_context().get_node_id()

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
"""


def test_a_mesh_leaves_the_cluster_as_it_was(start: Start) -> None:
    driver = start(
        CLUSTER
        + """
cluster.add_node(num_cpus=1)
for spread in (False, True):
    with open_mesh("quietbox2", address=cluster.address, spread=spread) as mesh:
        print("BOARDS", json.dumps(mesh.run(node)), flush=True)
    print("EMPTY", is_empty(cluster.address), ray.is_initialized(), flush=True)
with open_mesh("quietbox2", address=cluster.address) as mesh:  # and again
    x = mesh.shard(np.arange(4, dtype=np.float32), 0)
    print("SUM", mesh.to_numpy(mesh.run(lambda chip, x: chip.all_reduce(x), x)).ravel(), flush=True)
cluster.shutdown()
"""
    )
    packed = json.loads(driver.wait_for("BOARDS"))
    assert len(set(packed)) == 1
    assert driver.wait_for("EMPTY") == "(True, True, True) False"
    spread = json.loads(driver.wait_for("BOARDS"))
    assert spread[0] == spread[1] != spread[2] == spread[3]  # a board is never cut
    assert driver.wait_for("EMPTY") == "(True, True, True) False"
    assert driver.wait_for("SUM") == "[6. 6. 6. 6.]"
    assert driver.end()[0] == 0
    until(lambda: not driver.living(), LIMIT_S, driver.living)


def test_a_cluster_without_room_is_a_launch_error_and_stays_empty(start: Start) -> None:
    driver = start(
        CLUSTER.replace('"num_cpus": 1', '"num_cpus": 0')
        + """
try:
    open_mesh("quietbox2", address=cluster.address, start_timeout_s=2.0)
except Exception as error:
    print("ERROR", type(error).__name__, error, flush=True)
cluster.add_node(num_cpus=1)
with open_mesh("quietbox2", address=cluster.address) as mesh:
    print("NODES", len(set(mesh.run(node))), flush=True)
print("EMPTY", is_empty(cluster.address), flush=True)
cluster.shutdown()
"""
    )
    text = driver.wait_for("ERROR")
    assert text.startswith(
        "LaunchError cannot open quietbox2: the cluster has no room for 2 boards"
    )
    assert "0 of 0 CPUs are free" in text
    assert driver.wait_for("NODES") == "1"
    assert driver.wait_for("EMPTY") == "(True, True, True)"
    assert driver.end()[0] == 0
    until(lambda: not driver.living(), LIMIT_S, driver.living)


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "no-such-host.invalid:6379", "nonsense"])
def test_an_address_where_nobody_answers_is_a_launch_error(start: Start, address: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = address.format(port=free.getsockname()[1])
    driver = start(f'open_mesh("p150", address="{address}")')
    code, _, err = driver.end()  # within its limit: Ray alone would try for two minutes
    assert code == 1
    assert f"LaunchError: cannot open p150: no Ray cluster answers at '{address}'" in err
    assert "`ray start --head`" in err
    driver.left_nothing()
