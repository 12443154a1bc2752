"""The pytest plugin, as a user's own test files see it."""

import psutil
import pytest

from meshtwin.mesh.pool import MeshPool

from .driver import LIMIT_S, until

pytest_plugins = ["pytester"]


def test_installing_the_plugin_imports_neither_ray_nor_numpy(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import sys

        def test_nothing_heavy_is_there(request):
            assert request.config.pluginmanager.has_plugin("meshtwin")
            assert not {"ray", "numpy", "zmq", "meshtwin.mesh.device"} & set(sys.modules)
    """)
    pytester.runpytest_subprocess("-W", "error").assert_outcomes(passed=1)


def test_the_markers_and_the_option_are_documented(pytester: pytest.Pytester) -> None:
    pytester.runpytest_inprocess("--markers").stdout.fnmatch_lines(
        ["@pytest.mark.box(name, ?*options): *", "@pytest.mark.boxes(?names, ?*options): *"]
    )
    pytester.runpytest_inprocess("--help").stdout.fnmatch_lines(["*--meshtwin-box=NAME*"])


@pytest.mark.ray
def test_a_test_of_ones_own_is_three_lines(
    pytester: pytest.Pytester, meshtwin_pool: MeshPool
) -> None:
    pytester.makepyfile("""
        import numpy as np
        import pytest
        from meshtwin import Replicate

        class Mine(Exception):
            pass

        def double_sum(chip, x):
            return twice(chip, chip.all_reduce(x))

        def twice(chip, x):
            return chip.add(x, x)

        def raises(chip):
            raise Mine(chip.rank)

        def test_all_reduce_sums(mesh):
            x = mesh.shard(np.arange(8, dtype=np.float32), dim=0)
            y = mesh.run(double_sum, x, out=Replicate())
            assert mesh.to_numpy(y).tolist() == [24, 32]

        def test_an_error_of_the_test_module_arrives_by_its_type(mesh):
            with pytest.raises(Mine, match="0"):
                mesh.run(raises)
    """)
    pytester.runpytest_inprocess("--strict-markers").assert_outcomes(passed=2)


@pytest.mark.ray
def test_markers_and_the_option_choose_the_box_and_meshes_are_kept(
    pytester: pytest.Pytester, meshtwin_pool: MeshPool
) -> None:
    pytester.makepyfile("""
        import pytest

        seen = []

        def test_by_option(mesh):
            assert mesh.box.name == "p300"
            seen.append(mesh)

        @pytest.mark.box("p300")
        def test_the_same_mesh_by_marker(mesh):
            assert mesh is seen[0]

        @pytest.mark.box("p300", transport="zeromq")
        def test_other_options_are_another_mesh(mesh):
            assert mesh is not seen[0]
            assert mesh.reports()[0].transports[1] == "zeromq"

        @pytest.mark.boxes("p150", "p300")
        def test_each_box(mesh, request):
            assert mesh.box.name in request.node.name
            assert sum(mesh.run(lambda chip: 1)) == mesh.num_chips

        @pytest.mark.parametrize("mesh", ["p150"], indirect=True)
        def test_a_plain_parametrisation_works_too(mesh):
            assert mesh.box.name == "p150"
    """)
    result = pytester.runpytest_inprocess("-v", "--meshtwin-box", "p300")
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(["*test_each_box?p150? PASSED*", "*test_each_box?p300? PASSED*"])


@pytest.mark.ray
def test_a_mesh_that_died_is_open_again_in_the_next_test(
    pytester: pytest.Pytester, meshtwin_pool: MeshPool
) -> None:
    pytester.makepyfile("""
        import os
        import pytest
        from meshtwin.mesh.errors import ChipDown

        pytestmark = pytest.mark.box("p300")

        def test_a_chip_dies(mesh):
            with pytest.raises(ChipDown):
                mesh.run(lambda chip: os._exit(1) if chip.rank else chip.barrier())
            assert not mesh.is_open

        def test_the_next_one_has_all_chips(mesh):
            assert mesh.run(lambda chip: chip.rank) == [0, 1]
    """)
    pytester.runpytest_inprocess().assert_outcomes(passed=2)


@pytest.mark.ray
def test_a_wrong_box_is_an_error_that_names_the_right_one(
    pytester: pytest.Pytester, meshtwin_pool: MeshPool
) -> None:
    pytester.makepyfile("""
        import pytest

        @pytest.mark.box("quietbux2")
        def test_unknown(mesh):
            pass

        @pytest.mark.box("p300", "p150")
        def test_two(mesh):
            pass
    """)
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(
        ["*no box is called 'quietbux2'. Did you mean 'quietbox2'?*", "*takes one box, as in*"]
    )


@pytest.mark.ray
def test_a_session_of_its_own_ends_its_ray_and_all_chips(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        from pathlib import Path
        import psutil

        def test_chips_are_processes(mesh):
            family = psutil.Process().children(recursive=True)
            assert len(family) > mesh.num_chips
            Path("family").write_text(" ".join(str(process.pid) for process in family))
    """)
    result = pytester.runpytest_subprocess("--meshtwin-box", "p300")
    result.assert_outcomes(passed=1)
    family = [int(pid) for pid in (pytester.path / "family").read_text().split()]

    def left() -> list[int]:
        return [pid for pid in family if psutil.pid_exists(pid)]

    until(lambda: not left(), LIMIT_S, left)
