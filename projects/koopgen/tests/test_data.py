"""The data module: parts that do not overlap, batches of the promised shapes, sets from everywhere."""

import pytest
import torch

from koopgen.data import TrajectoryDataModule, WindowDataset
from koopgen.systems import SYSTEMS, cached_trajectories
from koopgen.trajectories import TrajectorySet


def module(**options):
    settings = {"system": "pendulum", "n": 20, "steps": 40, "window": 10, "batch_size": 4, "cache": False}
    made = TrajectoryDataModule(**{**settings, **options})
    made.setup()
    return made


def test_batches():
    data = module(horizon=25, windows_per_epoch=3, eval_batch_size=3)
    assert [len(data.parts[part]) for part in ("train", "val", "test")] == [14, 2, 4]
    batches = list(data.train_dataloader())
    assert sum(len(batch) for batch in batches) == 3 * 14
    assert all(batch.shape[1:] == (10, 2) for batch in batches)
    assert [batch.shape for batch in data.test_dataloader()] == [(3, 25, 2), (1, 25, 2)]
    assert [batch.shape for batch in data.val_dataloader()] == [(2, 25, 2)]
    assert torch.equal(next(iter(data.predict_dataloader())), next(iter(data.test_dataloader())))


def test_the_set_is_that_of_the_system():
    data = module(seed=5)
    whole = SYSTEMS["pendulum"].generate(20, 40, seed=5)
    parts = torch.cat([data.parts[part].x for part in ("train", "val", "test")])
    assert torch.equal(parts, whole.x)
    test = torch.cat(list(data.test_dataloader()))
    assert torch.equal(test, whole.x[16:])


def test_first_windows_are_the_first_and_random_ones_move():
    data = module(start="first", batch_size=14)
    starts = data.parts["train"].x[:, :10]
    first = next(iter(data.train_dataloader()))
    assert {tuple(w.flatten().tolist()) for w in first} == {tuple(w.flatten().tolist()) for w in starts}
    data = module(batch_size=14)
    torch.manual_seed(0)
    one, two = (next(iter(data.train_dataloader())).sum() for _ in range(2))
    torch.manual_seed(0)
    again = next(iter(data.train_dataloader())).sum()
    assert one != two
    assert one == again


def test_options_reach_the_system():
    data = module(system="lorenz96", options={"dimension": 6, "burn_in": 0.5})
    assert data.parts["test"].n_x == 6


def test_trajectories_in_memory_and_in_a_file(tmp_path):
    ragged = TrajectorySet([torch.randn(12 + i, 3) for i in range(15)], dt=0.5)
    ragged.save(tmp_path / "own.npz")
    given = TrajectoryDataModule.from_trajectories(ragged, window=8)
    read = TrajectoryDataModule(file=str(tmp_path / "own.npz"), window=8)
    for data in (given, read):
        data.prepare_data()
        data.setup()
        assert next(iter(data.test_dataloader())).shape[1:] == (12, 3)  # the shortest decides
        assert next(iter(data.train_dataloader())).shape[1:] == (8, 3)
        assert data.parts["train"].dt == 0.5


def test_prepared_once_and_read_by_all(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    settings = {"system": "pendulum", "n": 20, "steps": 15, "window": 10}
    data = TrajectoryDataModule(**settings)
    data.prepare_data()
    assert len(list(tmp_path.rglob("*.npz"))) == 1
    monkeypatch.setattr(type(data.system), "generate", lambda *_: pytest.fail("generated again"))
    data.setup()
    expected = cached_trajectories(SYSTEMS["pendulum"], 20, 15)
    assert torch.equal(torch.cat([data.parts[p].x for p in ("train", "val", "test")]), expected.x)


def test_no_folder_is_touched_without_a_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    data = TrajectoryDataModule("pendulum", n=20, steps=15, window=10, cache=False)
    data.prepare_data()
    data.setup()
    assert list(tmp_path.iterdir()) == []


def test_windows_of_a_dataset_by_index():
    data = TrajectorySet(torch.arange(5.0)[:, None, None].expand(5, 8, 1), dt=0.1)
    windows = WindowDataset(data, 4, repeats=2)
    assert windows[7].unique().tolist() == [2.0]
    assert windows.__getitems__([0, 5, 9])[:, 0, 0].tolist() == [0.0, 0.0, 4.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"system": "lorenz84"}, "unknown system 'lorenz84'"),
        ({"options": {"gamma": 1.0}}, "pendulum has no parameter gamma"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"eval_batch_size": 0}, "eval_batch_size must be at least 1"),
        ({"horizon": 1}, "horizon must be at least 2"),
        ({"horizon": 42}, "horizon is 42 samples, the shortest trajectory has 41"),
        ({"n": 9}, "9 trajectories cannot be split"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        module(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 42}, "a window of 42 samples does not fit into a trajectory of 41"),
        ({"start": "last"}, "start must be 'random' or 'first'"),
        ({"windows_per_epoch": 0}, "repeats must be at least 1"),
    ],
)
def test_bad_windows(options, message):
    data = module(**options)
    with pytest.raises(ValueError, match=message):
        data.train_dataloader()
