"""Checkpoints of Hugging Face from a folder: a tiny one with random weights, written by the test."""

from pathlib import Path
from typing import Any

import pytest
import torch

from emergence.layer_calls import find_blocks
from emergence.probe import probe_layers
from emergence.probe_hf import load_hf, random_tokens

transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")

SIZES: dict[str, dict[str, Any]] = {
    "Llama": {
        "vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 32,
    },
    "GPT2": {"vocab_size": 50, "n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 32},
}  # fmt: skip

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(params=SIZES)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    name = request.param
    config = getattr(transformers, f"{name}Config")(**SIZES[name], bos_token_id=1, eos_token_id=2)
    model = {"Llama": "LlamaForCausalLM", "GPT2": "GPT2LMHeadModel"}[name]
    torch.manual_seed(0)
    getattr(transformers, model)(config).save_pretrained(tmp_path)
    return tmp_path


def test_the_blocks_of_a_checkpoint_are_profiled(folder: Path) -> None:
    model = load_hf(folder)
    assert len(find_blocks(model)) == 3
    tokens = random_tokens(model, 2, 6)
    found = probe_layers(model, tokens, ["relative_update", "sigma", "block_distance"], n_points=2)
    states = torch.stack(model(tokens, output_hidden_states=True).hidden_states)
    expected = (states[1] - states[0]).flatten(1).norm(dim=1) / states[0].flatten(1).norm(dim=1)
    assert float(found["relative_update"][0]) == pytest.approx(float(expected.detach().mean()), rel=1e-4)
    assert found["sigma"].shape == (3,)
    assert found["sigma"].isfinite().all()
    assert (found["sigma"] > 0).all()
    assert float(found["block_distance"][0]) > 0


def test_sigma_of_a_block_is_the_norm_of_its_jacobian(folder: Path) -> None:
    model = load_hf(folder, torch.float64)
    tokens = random_tokens(model, 2, 4)
    found = probe_layers(model, tokens, ["sigma"], n_points=2)
    from emergence.layer_calls import record_layers

    call = record_layers(model, tokens)[0][1].to(torch.float64)
    exact = []
    for i in range(2):
        one = call.sample(i)
        jacobian = torch.autograd.functional.jacobian(lambda h, o=one: o.call(h), one.x)
        exact.append(float(torch.linalg.matrix_norm(jacobian.reshape(64, 64), 2)))
    assert float(found["sigma"][1]) == pytest.approx(max(exact), rel=1e-2)


def test_padding_is_left_out(folder: Path) -> None:
    model = load_hf(folder)
    tokens = random_tokens(model, 1, 6)
    padded = torch.cat([tokens, torch.full((1, 3), 3)], 1)
    mask = torch.cat([torch.ones(1, 6), torch.zeros(1, 3)], 1).long()
    metrics = ["relative_update", "pair_ratio", "effective_rank"]
    found = probe_layers(model, {"input_ids": padded, "attention_mask": mask}, metrics)
    alone = probe_layers(model, tokens, metrics)
    for name in alone.values:
        torch.testing.assert_close(found[name], alone[name], rtol=1e-4, atol=1e-5)


def test_missing_files_and_pickles_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no config.json"):
        load_hf(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(FileNotFoundError, match="pickled weights are not opened"):
        load_hf(tmp_path)
