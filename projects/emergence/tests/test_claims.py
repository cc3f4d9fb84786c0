"""All ten claims: they exist at all scales, never fall back to the CPU, and their seeds are their own."""

import pytest
import torch

import emergence.claims
from emergence.claims.scales import derive, device_for, in_words
from tenfold.claims import Scale, collect

CLAIMS = collect(emergence.claims)


def test_the_ten_claims_exist_at_all_four_scales() -> None:
    assert sorted(CLAIMS, key=lambda name: int(name[1:])) == [f"C{i}" for i in range(1, 11)]
    assert all(claim.scales == tuple(Scale) for claim in CLAIMS.values())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("scale", [Scale.GPU, Scale.PAPER])
def test_gpu_scales_never_fall_back_to_the_cpu(scale: Scale) -> None:
    with pytest.raises(RuntimeError, match=f"scale {scale} needs a CUDA device"):
        device_for(scale)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("name", sorted(CLAIMS))
def test_every_claim_asks_for_its_device_first(name: str) -> None:
    with pytest.raises(RuntimeError, match="scale gpu needs a CUDA device"):
        CLAIMS[name](Scale.GPU, 0)


def test_claim_seeds_share_no_other_seed() -> None:
    assert not set(derive(0, 5)) & set(derive(1, 5))
    assert in_words(["a_at_least_2", "b"]) == "a at least 2; b"
