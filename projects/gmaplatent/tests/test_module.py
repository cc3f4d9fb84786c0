import pytest
import torch

from gmaplatent.data import DigitsData
from gmaplatent.models import Classifier
from gmaplatent.module import LitClassifier


def test_a_step_of_the_optimiser_lowers_the_loss():
    torch.manual_seed(0)
    data = DigitsData(batch_size=256)
    data.setup()
    batch = next(iter(data.train_dataloader()))
    lit = LitClassifier(Classifier(64, 10), lr=1e-2)
    optimizer = lit.configure_optimizers()
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(lit(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_the_parts_of_the_data_do_not_overlap():
    data = DigitsData()
    data.setup()
    assert sum(len(part) for part in data.parts.values()) == 1797


def test_bad_values_are_named():
    with pytest.raises(ValueError, match="lr must be above 0, got -1"):
        LitClassifier(Classifier(64, 10), lr=-1)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        DigitsData(batch_size=0)
