"""The predecessor's long pendulum trajectories: other people's integrator and ours give the same motion."""

import numpy as np
import pytest

from koopgen.rings import load_pendulum_rings, read_pendulum_rings
from koopgen.systems import SYSTEMS, DampedPendulum, pendulum
from tenfold.data import DataNotFoundError


@pytest.mark.realdata
def test_our_integrator_follows_the_file():
    """30 time units, the outermost close to the separatrix, to the digits that the file has."""
    theirs = read_pendulum_rings()
    ours = SYSTEMS["pendulum_lusch"].trajectory(theirs[:, 0], 1499)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-8)


@pytest.mark.realdata
def test_another_pendulum_would_not_follow_it():
    """Control: a friction of 10⁻⁶ is seen."""
    theirs = read_pendulum_rings()
    damped = DampedPendulum(dt=0.02, damping=1e-6).trajectory(theirs[:, 0], 1499)
    assert np.abs(damped - theirs).max() > 1e-6


@pytest.mark.realdata
def test_the_file_is_a_test_set():
    rings = load_pendulum_rings()
    assert rings.x.shape == (10, 1500, 2)
    assert rings.dt == SYSTEMS["pendulum_lusch"].dt
    np.testing.assert_array_equal(rings.x.numpy(), read_pendulum_rings().astype(np.float32))


@pytest.mark.realdata
def test_the_file_obeys_the_frequency_law():
    """P10 on data that we did not make: the time between zero crossings of θ against the elliptic integral."""
    rings = load_pendulum_rings()
    for trajectory in rings.x.double().numpy():
        theta = trajectory[:, 0]
        before = np.flatnonzero((theta[:-1] < 0) & (theta[1:] >= 0))
        crossings = (before - theta[before] / (theta[before + 1] - theta[before])) * rings.dt
        omega = 2 * np.pi * (len(crossings) - 1) / (crossings[-1] - crossings[0])
        assert omega == pytest.approx(float(pendulum.frequency(pendulum.energy(trajectory[0]))), rel=1e-3)


def test_missing_file(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"PendulumRings.csv not found.*TENFOLD_DATA"):
        load_pendulum_rings(tmp_path)


def test_file_of_another_size(tmp_path):
    (tmp_path / "pendulum").mkdir()
    (tmp_path / "pendulum" / "PendulumRings.csv").write_text("1,2,3\n4,5,6\n")
    with pytest.raises(ValueError, match="holds 2 rows of 3 numbers; expected 10 rows of 3000"):
        load_pendulum_rings(tmp_path)
