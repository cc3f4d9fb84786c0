"""Checkpoints in the format of Hugging Face, from a folder and never from the network, for `probe_layers` (§3.6).

Needs the extra `hf` (transformers). Weights must be safetensors: no pickle is opened, no code of a checkpoint is run.
"""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise ImportError(
            "Hugging Face checkpoints need the package transformers: pip install 'emergence[hf]'"
        ) from error
    return transformers


def load_hf(folder: str | Path, dtype: torch.dtype = torch.float32) -> nn.Module:
    """A causal language model out of a folder, in evaluation mode, without a cache of keys and values.

    Args:
        folder: holds config.json and safetensors.
        dtype: of the weights.

    Raises:
        FileNotFoundError: if there is no config.json.
        ImportError: if transformers is not installed.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"{folder} holds no config.json: give the folder of a Hugging Face checkpoint"
        )
    if not list(folder.glob("*.safetensors")):
        raise FileNotFoundError(f"{folder} holds no *.safetensors: pickled weights are not opened")
    model = _transformers().AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, local_files_only=True, use_safetensors=True, trust_remote_code=False
    )
    model.config.use_cache = False
    return model.eval()


def tokens_of(folder: str | Path, text: str, n: int, length: int) -> Int[Tensor, "n length"]:
    """`n` pieces of `length` tokens of a text, by the tokenizer in the folder.

    Raises:
        ValueError: if the text is too short.
    """
    tokenizer = _transformers().AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    found = tokenizer(text[: 40 * n * length], add_special_tokens=False)["input_ids"]
    if len(found) < n * length:
        raise ValueError(f"text has {len(found)} tokens, {n} pieces of {length} need {n * length}")
    return torch.tensor(found[: n * length]).reshape(n, length)


def random_tokens(model: nn.Module, n: int, length: int, seed: int = 0) -> Int[Tensor, "n length"]:
    """Tokens drawn uniformly from the vocabulary, for checkpoints without a tokenizer."""
    generator = torch.Generator().manual_seed(seed)
    vocab = int(model.config.vocab_size)  # type: ignore[union-attr, arg-type]
    return torch.randint(vocab, (n, length), generator=generator)
