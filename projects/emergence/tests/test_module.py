"""The LightningModule and the data of the largest preset."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from emergence.models import GPTConfig, LoopedGPT, TinyGPT
from emergence.module import LitLanguageModel, WebTokensDataModule
from emergence.optim import Optim
from emergence.tasks import IGNORED, Parity
from emergence.web_tokens import load_web_tokens
from tenfold.data import DataNotFoundError


def test_a_configuration_with_loops_trains_a_looped_model() -> None:
    assert isinstance(LitLanguageModel(GPTConfig()).model, TinyGPT)
    assert isinstance(LitLanguageModel(GPTConfig(n_blocks=1, loops=3)).model, LoopedGPT)


def test_only_tokens_that_count_enter_loss_and_accuracy(monkeypatch: pytest.MonkeyPatch) -> None:
    lit = LitLanguageModel(GPTConfig(vocab=2, ctx=6, d=8, heads=2, n_blocks=1))
    logged: dict[str, torch.Tensor] = {}
    monkeypatch.setattr(lit, "log_dict", lambda values, **_: logged.update(values))
    batch = Parity(6).draw(32, torch.Generator().manual_seed(0))
    lit.validation_step((batch.tokens, batch.targets), 0)
    logits = lit(batch.tokens)[:, -1]
    expected = torch.nn.functional.cross_entropy(logits, batch.targets[:, -1])
    torch.testing.assert_close(logged["val/loss"], expected)
    assert float(logged["val/acc"]) == pytest.approx(
        float((logits.argmax(-1) == batch.targets[:, -1]).float().mean())
    )
    assert float(logged["val/bits"].detach()) == pytest.approx(float(expected.detach()) / math.log(2))
    assert IGNORED == -100  # what cross_entropy and the data modules leave out


def test_steps_of_the_optimiser_lower_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    lit = LitLanguageModel(
        GPTConfig(vocab=3, ctx=6, d=8, heads=2, n_blocks=1), Optim(lr=1e-2, warmup=2, steps=20)
    )
    monkeypatch.setattr(lit, "log_dict", lambda values, **_: None)
    optimizer = lit.configure_optimizers()["optimizer"]
    tokens = torch.arange(7).expand(8, 7) % 3
    losses = []
    for step in range(20):
        loss = lit.training_step((tokens[:, :-1], tokens[:, 1:]), step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


def write_tokens(folder: Path, n: int = 4000) -> np.ndarray:
    (folder / "web-tokens").mkdir()
    tokens = np.random.default_rng(0).integers(0, 50_257, n).astype("<u2")
    for part in ("train", "val"):
        tokens.tofile(folder / "web-tokens" / f"{part}.bin")
    return tokens


def test_web_tokens_are_read_as_unsigned_and_cut_into_windows(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path)
    assert tokens.max() > 32_767  # would be negative as a signed number
    assert load_web_tokens("val", tmp_path).long().tolist() == tokens.tolist()
    data = WebTokensDataModule(ctx=16, batch_size=4, steps_per_epoch=2, val_size=8, root=str(tmp_path))
    data.setup()
    x, y = next(iter(data.train_dataloader()))
    assert x.shape == y.shape == (4, 16)
    assert x.dtype == torch.int64
    assert torch.equal(x[:, 1:], y[:, :-1])
    known = {tuple(tokens[i : i + 16]) for i in range(len(tokens) - 16)}
    assert all(tuple(row) in known for row in x.tolist())
    assert data.vocab == 50_257


def test_missing_tokens_and_unknown_parts_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"web-tokens/train.bin not found: write a web corpus"):
        load_web_tokens("train", tmp_path)
    with pytest.raises(ValueError, match="part must be 'train' or 'val', got 'test'"):
        load_web_tokens("test", tmp_path)  # type: ignore[arg-type]
