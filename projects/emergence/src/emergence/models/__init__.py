"""Language models between the styles of GPT-1 and GPT-2, untied, tied or looped (§4.1, §4.3)."""

from .block import TransformerBlock
from .config import GPTConfig, gpt1_style, gpt2_style
from .looped_gpt import LoopedGPT, build_model
from .tiny_gpt import TinyGPT

__all__ = [
    "GPTConfig",
    "LoopedGPT",
    "TinyGPT",
    "TransformerBlock",
    "build_model",
    "gpt1_style",
    "gpt2_style",
]
