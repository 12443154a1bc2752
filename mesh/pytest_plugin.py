"""A pytest plugin: the fixture `mesh`, so that a test of a collective is three lines.

    def test_all_reduce_sums(mesh):
        x = mesh.shard(np.arange(8, dtype=np.float32), dim=0)
        y = mesh.run(lambda chip, x: chip.all_reduce(x), x, out=Replicate())
        assert mesh.to_numpy(y).tolist() == [12, 16]

The box is quietbox2, or what `--meshtwin-box` says. A test chooses for itself with
`@pytest.mark.box("galaxy", transport="zeromq")` (further arguments are those of `open_mesh`), or
runs on several with `@pytest.mark.boxes("p300", "quietbox2")`. Meshes are opened once a session,
on one local Ray. Functions and classes of the test module travel to the chips by value, so they
need not be importable there. Hypothesis: suppress HealthCheck.function_scoped_fixture, as the
fixture looks up the test's box; the mesh behind it is the session's.

pytest imports this module in every project where meshtwin is installed: Ray and the mesh are
imported when a test first asks for the fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .device import MeshDevice
    from .pool import MeshPool

DEFAULT_BOX = "quietbox2"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --meshtwin-box."""
    parser.getgroup("meshtwin").addoption(
        "--meshtwin-box",
        default=DEFAULT_BOX,
        metavar="NAME",
        help="box of the fixture `mesh` where a test does not choose one (%(default)s)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known."""
    for line in (
        "box(name, **options): the box of the fixture `mesh`, and options of meshtwin's open_mesh",
        "boxes(*names, **options): run the test on each of these boxes",
    ):
        config.addinivalue_line("markers", line)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each box of @pytest.mark.boxes."""
    marker = metafunc.definition.get_closest_marker("boxes")
    if marker is not None and "mesh" in metafunc.fixturenames:
        wanted = [(box, marker.kwargs) for box in marker.args]
        metafunc.parametrize("mesh", wanted, indirect=True, ids=map(str, marker.args))


@pytest.fixture(scope="session")
def meshtwin_pool() -> Iterator[MeshPool]:
    """The open meshes of the session, by box and options, on one local Ray."""
    from .pool import MeshPool

    with MeshPool() as pool:
        yield pool


@pytest.fixture
def mesh(request: pytest.FixtureRequest, meshtwin_pool: MeshPool) -> MeshDevice:
    """An open mesh of the test's box; one that has died in an earlier test is opened again."""
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(request.module)
    box, options = _wanted(request)
    return meshtwin_pool.get(box, **options)


def _wanted(request: pytest.FixtureRequest) -> tuple[Any, dict[str, Any]]:
    """Box and options: of the parametrisation, else of the marker, else of the command line."""
    if hasattr(request, "param"):
        given = request.param  # ours, or a bare box of the user's own parametrize
        return given if isinstance(given, tuple) else (given, {})
    marker = request.node.get_closest_marker("box")
    if marker is None:
        return request.config.getoption("--meshtwin-box"), {}
    if len(marker.args) != 1:
        raise pytest.UsageError(
            f"{request.node.nodeid}: @pytest.mark.box takes one box, as in box({DEFAULT_BOX!r}); "
            "for several write @pytest.mark.boxes"
        )
    return marker.args[0], marker.kwargs
