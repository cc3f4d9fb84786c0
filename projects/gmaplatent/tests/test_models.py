import pytest
import torch

from gmaplatent.models import MLP, Classifier

BOTH = pytest.mark.parametrize("network", [Classifier, MLP])


@BOTH
def test_logits_have_one_column_a_class(network):
    assert network(6, 4, width=5)(torch.randn(3, 6)).shape == (3, 4)


@BOTH
def test_a_saved_model_computes_the_same(network, tmp_path):
    model = network(6, 4, width=5)
    model.save_pretrained(tmp_path)
    x = torch.randn(3, 6)
    torch.testing.assert_close(network.from_pretrained(tmp_path)(x), model(x), rtol=0, atol=0)


@BOTH
@pytest.mark.parametrize("name", ["in_features", "n_classes", "width", "depth"])
def test_bad_sizes_are_named(network, name):
    sizes = {"in_features": 6, "n_classes": 4, "width": 5, "depth": 2, name: 0}
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        network(**sizes)
