"""Trajectory sets: windows that stay inside a trajectory, splits without overlap, files without pickles."""

from itertools import chain

import numpy as np
import pytest
import torch

from koopgen.trajectories import TrajectorySet


def counting(lengths, n_x=2):
    """Trajectory i holds 1000·i + k at sample k, so that every window tells where it comes from."""
    return [(1000.0 * i + torch.arange(n))[:, None].repeat(1, n_x) for i, n in enumerate(lengths)]


def test_no_window_crosses_a_join():
    data = TrajectorySet(counting([7, 5, 9]), dt=0.1)
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(300):
        windows = data.windows(4, generator=generator)[..., 0]
        assert (windows.diff(dim=1) == 1).all()
        assert torch.equal(windows[:, 0] // 1000, torch.arange(3.0))
        seen |= set(windows[:, 0].tolist())
    starts = [1000 * i + k for i, n in enumerate((7, 5, 9)) for k in range(n - 3)]
    assert seen == set(starts)  # every place where a window fits, and no other


def test_windows_from_the_first_sample_and_by_index():
    data = TrajectorySet(counting([6, 6, 6]), dt=0.1)
    first = data.windows(3, start="first", index=torch.tensor([2, 0, 2]))
    assert first[..., 0].tolist() == [[2000, 2001, 2002], [0, 1, 2], [2000, 2001, 2002]]
    assert data.windows(6)[..., 0].tolist() == data.windows(6, start="first")[..., 0].tolist()


def test_random_windows_repeat_with_their_generator():
    data = TrajectorySet(torch.randn(5, 50, 3), dt=0.1)
    a, b, c = (data.windows(10, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


@pytest.mark.parametrize("n", [10, 11, 37, 1000])
def test_split_is_by_trajectory_and_complete(n):
    data = TrajectorySet(counting([4] * n), dt=0.1)
    parts = data.split(0.7, 0.1)
    ids = [[int(trajectory[0, 0]) // 1000 for trajectory in part.trajectories] for part in parts]
    assert list(chain(*ids)) == list(range(n))
    assert all(ids)
    assert len(ids[0]) == pytest.approx(0.7 * n, abs=1)
    assert len(ids[1]) == pytest.approx(0.1 * n, abs=1)
    assert all(part.dt == data.dt for part in parts)


def test_split_keeps_different_lengths_apart():
    lengths = list(range(3, 15))
    train, val, test = TrajectorySet(counting(lengths), dt=0.1).split(0.5, 0.25)
    assert [*train.lengths, *val.lengths, *test.lengths] == lengths
    assert torch.equal(test[len(test) - 1], counting(lengths)[-1])


def test_statistics():
    x = torch.randn(20, 30, 2) * torch.tensor([2.0, 5.0]) + torch.tensor([1.0, -3.0])
    data = TrajectorySet(x, dt=0.1)
    flat = x.reshape(-1, 2)
    torch.testing.assert_close(data.mean, flat.mean(0))
    torch.testing.assert_close(data.channel_std, flat.std(0, unbiased=False))
    assert data.sigma == pytest.approx(float(flat.var(0, unbiased=False).mean().sqrt()), rel=1e-5)


def test_statistics_of_a_large_mean():
    """float32 sums would lose the spread."""
    data = TrajectorySet(torch.full((200, 500, 1), 1e4) + torch.randn(200, 500, 1), dt=0.1)
    assert data.sigma == pytest.approx(1.0, rel=0.02)


def test_one_tensor_only_where_lengths_agree():
    x = torch.randn(3, 6, 2)
    assert torch.equal(TrajectorySet(list(x), dt=0.1).x, x)
    assert torch.equal(TrajectorySet(x.numpy(), dt=0.1).x, x)
    with pytest.raises(ValueError, match="have 5 to 7 samples and do not form one tensor"):
        _ = TrajectorySet(counting([7, 5]), dt=0.1).x


def test_stride_and_subset():
    data = TrajectorySet(counting([9, 10]), dt=0.1, lyapunov=0.5)
    thin = data.every(4)
    assert thin[0][:, 0].tolist() == [0, 4, 8]
    assert thin[1][:, 0].tolist() == [1000, 1004, 1008]
    assert thin.dt == pytest.approx(0.4)
    assert thin.lyapunov == 0.5
    assert data.subset([1, 1]).lengths.tolist() == [10, 10]


@pytest.mark.parametrize("lyapunov", [None, 0.0, 0.9])
def test_file_round_trip(tmp_path, lyapunov):
    data = TrajectorySet(counting([4, 6]), 0.1, lyapunov, {"system": "test", "seed": 3})
    path = tmp_path / "new" / "set.npz"
    data.save(path)
    again = TrajectorySet.load(path)
    assert [t.tolist() for t in again.trajectories] == [t.tolist() for t in data.trajectories]
    assert (again.dt, again.lyapunov, again.meta) == (data.dt, data.lyapunov, data.meta)
    with np.load(path, allow_pickle=False) as content:  # nothing in it needs pickle
        assert all(content[name].dtype != object for name in content.files)
    assert [file.name for file in path.parent.iterdir()] == ["set.npz"]


def test_files_with_pickles_are_refused(tmp_path):
    path = tmp_path / "set.npz"
    np.savez(path, x=np.array([{"a": 1}], dtype=object), lengths=[1], dt=1.0, lyapunov=0.0, meta="{}")
    with pytest.raises(ValueError, match="damaged or no set of trajectories"):
        TrajectorySet.load(path)


def test_files_that_are_something_else(tmp_path):
    path = tmp_path / "set.npz"
    np.savez(path, y=np.zeros(3))
    with pytest.raises(ValueError, match=r"holds \['y'\], a set of trajectories holds"):
        TrajectorySet.load(path)
    with pytest.raises(FileNotFoundError):
        TrajectorySet.load(tmp_path / "missing.npz")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TrajectorySet(torch.zeros(5, 2), 0.1), r"x has shape \(5, 2\); give \(trajectories"),
        (lambda: TrajectorySet([torch.zeros(5)], 0.1), r"trajectory 0 has shape \(5,\)"),
        (lambda: TrajectorySet([torch.zeros(5, 2), torch.zeros(5, 3)], 0.1), "trajectory 1 has 3 channels"),
        (lambda: TrajectorySet([torch.zeros(5, 2), torch.zeros(1, 2)], 0.1), "trajectory 1 has 1 samples"),
        (lambda: TrajectorySet([], 0.1), "holds no trajectory"),
        (lambda: TrajectorySet(torch.zeros(0, 5, 2), 0.1), "holds no trajectory"),
        (lambda: TrajectorySet(torch.zeros(2, 5, 0), 0.1), "no channels"),
        (lambda: TrajectorySet(torch.zeros(2, 5, 2), 0.0), "dt must be a positive time"),
        (lambda: TrajectorySet(torch.zeros(2, 5, 2), float("inf")), "dt must be a positive time"),
        (lambda: TrajectorySet(torch.zeros(2, 5, 2), 0.1, float("nan")), "lyapunov must be a finite number"),
    ],
)
def test_bad_sets(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_numbers_that_are_not_finite_are_located():
    pieces = counting([5, 6, 7])
    pieces[1][5, 0] = float("nan")
    with pytest.raises(ValueError, match="x is not finite in trajectory 1"):
        TrajectorySet(pieces, 0.1)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda data: data.windows(7), "a window of 7 samples does not fit into a trajectory of 6"),
        (lambda data: data.windows(0), "length must be at least 1"),
        (lambda data: data.windows(3, start="last"), "start must be 'random' or 'first', got 'last'"),
        (lambda data: data.split(), "9 trajectories cannot be split"),
        (lambda data: data.split(0.9, 0.1), "leave a rest for the test"),
        (lambda data: data.split(0.7, 0.0), "must be positive"),
        (lambda data: data.every(0), "stride must be at least 1"),
        (lambda data: data.subset([]), "index is empty"),
    ],
)
def test_bad_use(use, message):
    with pytest.raises(ValueError, match=message):
        use(TrajectorySet(counting([6] * 9), dt=0.1))
