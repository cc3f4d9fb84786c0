"""The presets train: a network, its rates and its data fit each other."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import yaml

import metakan
from metakan import MetaKAN
from metakan.images import load_idx, normalise_images
from metakan.optim import Rates, make_adamw

CONFIGS = Path(metakan.__file__).parent / "configs"


@pytest.mark.realdata
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_mnist_preset_learns_whatever_the_seed(seed: int) -> None:
    """At higher rates some seeds leave the grid in the first steps and stay at the loss of guessing, ln 10 = 2.303."""
    preset = yaml.safe_load((CONFIGS / "mnist.yaml").read_text())["model"]["init_args"]
    images, labels = load_idx("mnist", train=True)
    x = normalise_images(images, "mnist").flatten(1)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = MetaKAN(**preset["model"]["init_args"])
    optimizer = make_adamw(model, Rates(**preset["rates"]))
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    losses = []
    for batch in order.split(128)[:250]:
        loss = F.cross_entropy(model(x[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    assert torch.stack(losses[-20:]).mean() < 1.5
