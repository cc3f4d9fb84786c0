"""K6 and the control: what a warm start keeps, and whether SA's gain is more than extra training."""

import copy
import tempfile

import torch
from torch import Tensor, nn

from sa_conv.claims.networks import answers, frames, texture_network
from sa_conv.claims.textures import RATES, SIZES, TextureTask, axis_correlation
from sa_conv.claims.training import Contender, Recipe, derive, device_for, school, seeded, train
from sa_conv.convert import warm_start
from sa_conv.models.build import build_model
from tenfold.checkpoint import load_pretrained, save_pretrained
from tenfold.claims import Measurement, Scale, Table, claim

# small members of every network; the identity does not depend on their width
SMALL = {
    "edsr": {"fields": 2, "n_blocks": 2},
    "rdn": {"fields": 2, "growth": 2, "n_blocks": 2, "n_convs": 2},
    "rcan": {"fields": 2, "n_groups": 2, "n_blocks": 2},
    "rcdnet": {"fields": 1, "n_blocks": 1, "n_stages": 2, "n_maps": 4, "n_dual": 4},
}
EXACT = 1e-5


@claim("K6", "A warm start loses nothing", source="section 5; supplement SM7")
def loss_free(scale: Scale, seed: int) -> Measurement:
    """SA with a zero head computes what TL computes, TL at the identity what B-/F-Conv computes: relative error ≤ 1e-5.

    smoke: EDSR, RDN, RCAN and RCDNet in both bases, with random weights and random frames. cpu, gpu, paper: also a trained
    TL network, saved, loaded and converted: validation PSNR equal to 0.001 dB.
    """
    rows, worst = [], 0.0
    for name in SMALL:
        for step, error in _identities(name, seed).items():
            rows.append((name, step, error))
            worst = max(worst, error)
    values: dict[str, float] = {"largest relative error": worst}
    criterion, passed = f"relative error <= {EXACT:g}", worst <= EXACT
    if scale is not Scale.SMOKE:
        before, after = _converted_psnr(scale, seed)
        values |= {"psnr TL": before, "psnr SA": after, "difference (dB)": after - before}
        criterion += "; trained TL -> SA: |difference| <= 0.001 dB"
        passed = passed and abs(after - before) <= 0.001
    return Measurement(
        "largest relative difference after conversion",
        ours=worst,
        criterion=criterion,
        passed=passed,
        values=values,
        tables=[Table("conversions", ("network", "conversion", "relative error"), tuple(rows))],
    )


@claim(
    "C1",
    "Control: SA gains more than TL trained as much longer",
    source="notes, section 8: the control that the paper's protocol lacks",
    scales=("cpu", "gpu", "paper"),
    known_gaps={
        "cpu": "SA is 0.44, 0.09 and 0.45 dB better than TL continued (seeds 0, 1, 2); with seed 1 the hypernetwork does not find the "
        "axis (correlation 0.05 against 0.90 and 0.94)"
    },
)
def continued(scale: Scale, seed: int) -> Measurement:
    """After the same extra steps at the same learning rate from the same TL checkpoint, SA − "TL continued" ≥ 0.35 dB.

    On the textures with an axis per image and the paper's plain output layer, where K1b sees SA gain; the threshold is
    K1b's. The learning rate is searched for TL; the continuation uses half of it for both, as the paper does.
    """
    size = SIZES[scale]
    task, device = TextureTask("sample", size, derive(seed, 30)), device_for(scale)
    steps = size.sample_steps // 2
    recipe = Recipe(steps, RATES, size.search_steps)
    start = school(
        Contender("TL-Conv", lambda: texture_network("TL-Conv", "plain", size)),
        task.batches,
        task.judge,
        recipe,
        derive(seed, 31),
        device,
    )
    adaptive = seeded(derive(seed, 32), lambda: texture_network("SA-Conv", "plain", size)).to(device)
    adaptive.load_state_dict(warm_start(start.model.state_dict(), adaptive))
    models = {"TL-Conv": start.model, "TL-Conv continued": copy.deepcopy(start.model), "SA-Conv": adaptive}
    more = Recipe(2 * steps)
    for name in ("TL-Conv continued", "SA-Conv"):
        train(models[name], task.batches, more, start.rate / 2, device, first_step=steps)
    psnr = {name: task.psnr(model) for name, model in models.items()}
    w = answers(models["SA-Conv"], task.noisy)
    gain = psnr["SA-Conv"] - psnr["TL-Conv continued"]
    return Measurement(
        "PSNR on the centre of the test textures (dB, peak 1)",
        ours=psnr["SA-Conv"],
        baseline=psnr["TL-Conv continued"],
        criterion="SA - TL continued >= 0.35 dB",
        passed=gain >= 0.35,
        values={
            "sa_minus_tl_continued": gain,
            "tl_continued_minus_tl": psnr["TL-Conv continued"] - psnr["TL-Conv"],
            "largest correlation of w with the axis": max(axis_correlation(w, task.test.angles)),
            "extra steps": 2 * steps,
            "learning rate of the extra steps": start.rate / 2,
            **{f"psnr {name}": value for name, value in psnr.items()},
        },
    )


def _identities(name: str, seed: int) -> dict[str, float]:
    """Relative errors of both conversions of a network."""
    image = 255 * torch.rand(2, 3, 32, 29, generator=torch.Generator().manual_seed(derive(seed, 40)))
    found = {}
    for static, basis in (("bconv", "bicubic"), ("fconv", "fourier")):
        plain = _build(name, static, {}, seed)
        if name == "rcdnet":  # its frames stay at the identity: there is no TL in between
            adaptive = _build(name, "saconv", {"basis": basis}, seed + 1)
            adaptive.load_state_dict(warm_start(plain.state_dict(), adaptive))
            found[f"{static} -> saconv"] = _difference(plain, adaptive, image)
            continue
        learned = _build(name, "tlconv", {"basis": basis}, seed + 1)
        learned.load_state_dict(warm_start(plain.state_dict(), learned))
        found[f"{static} -> tlconv"] = _difference(plain, learned, image)
        _bend(learned, seed)
        adaptive = _build(name, "saconv", {"basis": basis}, seed + 2)
        adaptive.load_state_dict(warm_start(learned.state_dict(), adaptive))
        found[f"tlconv ({basis}) -> saconv"] = _difference(learned, adaptive, image)
    return found


def _build(name: str, variant: str, options: dict[str, str], seed: int) -> nn.Module:
    return seeded(derive(seed, 41), lambda: build_model(name, variant, **SMALL[name], **options)).eval()


def _bend(model: nn.Module, seed: int) -> None:
    """Give every frame random numbers away from the identity."""
    generator = torch.Generator().manual_seed(derive(seed, 42))
    with torch.no_grad():
        for frame in frames(model):
            frame.base += 0.2 * torch.randn(3, generator=generator)


@torch.no_grad()
def _difference(a: nn.Module, b: nn.Module, image: Tensor) -> float:
    expected = a(image)
    return float((b(image) - expected).abs().max() / expected.abs().max())


def _converted_psnr(scale: Scale, seed: int) -> tuple[float, float]:
    """Validation PSNR of a trained TL network, and after it went through a checkpoint and became an SA network."""
    size, device = SIZES[scale], device_for(scale)
    task = TextureTask("sample", size, derive(seed, 43))
    learned = seeded(derive(seed, 44), lambda: texture_network("TL-Conv", "plain", size))
    train(learned, task.batches, Recipe(max(100, size.steps // 4)), 5e-3, device)
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(learned, folder, {})
        _, state = load_pretrained(folder)
    adaptive = texture_network("SA-Conv", "plain", size)
    adaptive.load_state_dict(warm_start(state, adaptive))
    return task.judge(learned), task.judge(adaptive.to(device))
