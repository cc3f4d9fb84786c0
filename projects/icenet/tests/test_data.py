"""Slots for training: fresh at every step, the same again in a continued run, fixed for validation; shards."""

from pathlib import Path
from typing import Any

import pytest
import torch

from icenet import data as module
from icenet.data import (
    FreshSlots,
    OnTheFlyDataModule,
    ShardDataModule,
    ShardDataset,
    StepSampler,
    shard_files,
    stream,
)
from icenet.ofdm.channel import ChannelSimulator
from icenet.shards import write_shard

SIMULATOR = ChannelSimulator("nr_v2x_15", "EVA", doppler=(0.0, 1000.0))


def small(**options: Any) -> OnTheFlyDataModule:
    return OnTheFlyDataModule(**{"batch_size": 4, "steps": 3, "n_val": 5, "n_test": 6, **options})


def test_a_step_is_a_function_of_seed_and_step_alone() -> None:
    slots, again = FreshSlots(SIMULATOR, 4, seed=1), FreshSlots(SIMULATOR, 4, seed=1)
    again[7]  # what was drawn before does not matter
    for name, value in slots[3].items():
        assert torch.equal(value, again[3][name])
    assert not torch.equal(slots[3]["h"], slots[4]["h"])
    assert not torch.equal(slots[3]["h"], FreshSlots(SIMULATOR, 4, seed=2)[3]["h"])


def test_streams_of_a_seed_share_nothing() -> None:
    draws = {
        torch.rand(1, generator=stream(seed, *path)).item()
        for seed in range(5)
        for path in ((0, 0), (0, 1), (1,))
    }
    assert len(draws) == 15


def test_the_slots_are_what_they_say() -> None:
    batch = FreshSlots(SIMULATOR, 500, snr_db=(0.0, 25.0))[0]
    assert batch["snr_db"].min() >= 0
    assert batch["snr_db"].max() <= 25
    torch.testing.assert_close(batch["noise_var"], 10 ** (-batch["snr_db"] / 10))
    assert 0 <= batch["doppler_hz"].min() < 100 < 900 < batch["doppler_hz"].max() <= 1000
    error = batch["ls"] - SIMULATOR.config.pilots.take(batch["h"])
    ratio = error.abs().square().mean((1, 2)) / batch["noise_var"]
    assert float(ratio.mean()) == pytest.approx(1, abs=0.02)
    chosen = FreshSlots(SIMULATOR, 200, snr_choices=[5.0, 15.0])[0]["snr_db"]
    assert set(chosen.tolist()) == {5.0, 15.0}


def test_epochs_and_processes_get_different_steps() -> None:
    dataset = FreshSlots(SIMULATOR, 4, steps=3)
    seen = []
    for epoch in range(2):
        for rank in range(2):
            sampler = StepSampler(dataset, world_size=2, rank=rank)
            sampler.set_epoch(epoch)
            seen += list(sampler)
            assert len(sampler) == 3
    assert sorted(seen) == list(range(12))


def test_a_repeated_set_has_the_same_steps_in_another_order() -> None:
    sampler = StepSampler(FreshSlots(SIMULATOR, 4, steps=20), repeat=True)
    orders = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(20))


def test_validation_and_test_slots_are_fixed_and_the_same_channels_at_every_snr() -> None:
    data, other = small(), small()
    data.setup()
    other.setup("validate")
    first, second = list(data.val_dataloader()), list(other.val_dataloader())
    assert [float(batch["snr_db"][0]) for batch in first] == [0, 5, 10, 15, 20, 25]
    assert all(torch.equal(a["ls"], b["ls"]) for a, b in zip(first, second))
    assert torch.equal(first[0]["h"], first[5]["h"])
    noise = [(b["ls"] - data.ofdm.pilots.take(b["h"])) / b["noise_var"].sqrt()[:, None, None] for b in first]
    torch.testing.assert_close(noise[0], noise[5], atol=1e-4, rtol=1e-4)
    test = list(data.test_dataloader())
    assert len(test[0]["h"]) == 6
    assert not torch.equal(test[0]["h"][:5], first[0]["h"])
    assert not torch.equal(next(iter(data.train_dataloader()))["h"], first[0]["h"][:4])


def test_large_sets_come_in_several_batches() -> None:
    data = small(n_val=1100, eval_snr_db=[10.0])
    data.setup("validate")
    assert [len(batch["h"]) for batch in data.val_dataloader()] == [500, 500, 100]


def test_mixtures_other_test_profiles_and_whole_hertz() -> None:
    data = small(profile=["EPA", "EVA"], test_profile="TDLA30", integer_doppler=True, doppler=(0.0, 97.0))
    data.setup()
    doppler = data.train_slots[0]["doppler_hz"]
    assert torch.equal(doppler, doppler.round())
    mixture = small(profile=["EVA", "TDL-A"], delay_spread_ns=(30.0, 300.0), batch_size=200)
    assert mixture.train_slots[0]["h"].shape == (200, 72, 14)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"n_val": 0}, "n_val must be at least 1, got 0"),
        ({"eval_snr_db": []}, "eval_snr_db must be at least 1, got 0"),
        ({"snr_db": (10.0, 0.0)}, r"snr_db must be a range \(low, high\) in dB, got \(10.0, 0.0\)"),
        ({"snr_choices": []}, "snr_choices is empty"),
        ({"profile": "EVB"}, "unknown profile 'EVB'"),
        ({"numerology": "lte"}, "unknown numerology 'lte'"),
        ({"doppler": (-1.0, 5.0)}, "doppler"),
    ],
)
def test_bad_settings_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**options)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    for i in range(2):
        slots = SIMULATOR.slots(6, (0.0, 25.0), stream(i))
        write_shard(tmp_path / f"slots-{i}.npz", slots, SIMULATOR.config, ["EVA"])
    return tmp_path


def test_shards_give_the_slots_that_were_written(shards: Path) -> None:
    dataset = ShardDataset(shard_files(str(shards)))
    assert len(dataset) == 12
    written = SIMULATOR.slots(6, (0.0, 25.0), stream(1))
    torch.testing.assert_close(dataset[7]["h"], written.h[1])
    batch = dataset.__getitems__([6, 11])
    torch.testing.assert_close(batch["ls"], written.ls[[0, 5]])


def test_a_module_of_shards_shuffles_the_training_part_only(shards: Path) -> None:
    data = ShardDataModule(str(shards), [str(shards / "slots-1.npz")], batch_size=5)
    data.setup()
    train = torch.cat([batch["snr_db"] for batch in data.train_dataloader()])
    assert sorted(train.tolist()) == sorted(data.parts["train"].slots["snr_db"].tolist())
    val = torch.cat([batch["snr_db"] for batch in data.val_dataloader()])
    assert torch.equal(val, data.parts["val"].slots["snr_db"])
    assert torch.equal(val, torch.cat([batch["snr_db"] for batch in data.test_dataloader()]))
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        ShardDataModule(str(shards), str(shards), batch_size=0)


def test_shards_that_are_missing_or_of_another_grid_are_named(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no shard .*nowhere\.npz; icenet make-dataset"):
        shard_files(str(tmp_path / "nowhere.npz"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty holds no shard"):
        shard_files(str(tmp_path / "empty"))
    with pytest.raises(ValueError, match="files is empty"):
        ShardDataset([])
    other = ChannelSimulator("lte_small", "EVA", doppler=(0.0, 97.0))
    write_shard(shards / "other.npz", other.slots(3, 10.0), other.config, ["EVA"])
    with pytest.raises(ValueError, match="symbols"):
        ShardDataset(shard_files(str(shards)))


def test_fields_are_those_of_a_batch() -> None:
    assert set(FreshSlots(SIMULATOR, 2)[0]) == set(module.FIELDS)
