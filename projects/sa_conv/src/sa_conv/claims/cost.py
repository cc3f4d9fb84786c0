"""K7: what adaptivity costs in parameters and in time."""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from sa_conv.claims.networks import VARIANTS
from sa_conv.claims.training import derive, device_for, seeded
from sa_conv.models.accounting import parameter_count
from sa_conv.models.build import build_model
from sa_conv.models.edsr import EDSR
from tenfold.claims import Measurement, Scale, Table, claim

# (network, scale, variant): trainable parameters, of which hypernetwork, geometry scalars; the table of section 4
TABLE: dict[tuple[str, int, str], tuple[int, int, int]] = {
    ("edsr", 2, "cnn"): (21_847_043, 0, 0),
    ("edsr", 2, "p4"): (15_481_347, 0, 0),
    ("edsr", 2, "fconv"): (8_924_291, 0, 0),
    ("edsr", 2, "bconv"): (8_924_291, 0, 0),
    ("edsr", 2, "tlconv"): (8_924_390, 0, 99),
    ("edsr", 2, "saconv"): (8_957_913, 33_523, 99),
    ("rdn", 2, "cnn"): (22_123_395, 0, 0),
    ("rdn", 2, "bconv"): (7_713_067, 0, 0),
    ("rdn", 2, "tlconv"): (7_713_457, 0, 390),
    ("rdn", 2, "saconv"): (7_746_980, 33_523, 390),
    ("rcan", 2, "cnn"): (12_374_403, 0, 0),
    ("rcan", 2, "fconv"): (4_405_435, 0, 0),
    ("rcan", 2, "tlconv"): (4_406_434, 0, 999),
    ("rcan", 2, "saconv"): (4_439_957, 33_523, 999),
    ("edsr", 1, "cnn"): (19_486_723, 0, 0),
    ("edsr", 1, "fconv"): (6_563_971, 0, 0),
    ("edsr", 1, "tlconv"): (6_564_070, 0, 99),
    ("edsr", 1, "saconv"): (6_597_593, 33_523, 99),
    ("rcdnet", 0, "cnn"): (3_166_355, 0, 0),
    ("rcdnet", 0, "fconv"): (2_402_365, 0, 0),
    ("rcdnet", 0, "saconv"): (2_955_398, 553_033, 0),
}


@claim(
    "K7",
    "Cheap adaptivity: 33,523 parameters and a moderate slow-down",
    source="section 4; section 7 of the supplement",
    published="33,523 parameters; SA-Conv step time: not published",
)
def cheap_adaptivity(scale: Scale, seed: int) -> Measurement:
    """The parameter table is reproduced exactly, and a training step of SA takes at most 2.2 × that of TL on one CPU core
    (tiny EDSR, batch 16), at most 1.6 × on a GPU (16 fields, batch 16).

    CPU steps are measured in processor time of the process, so that other work on the machine does not count.
    """
    device = device_for(scale)
    rows, exact = [], True
    for (name, factor, variant), expected in TABLE.items():
        found = _count(name, factor, variant)
        exact = exact and found == expected
        rows.append((f"{name}{f' ×{factor}' if factor else ''}", variant, *found, found == expected))
    gpu = device.type == "cuda"
    fields, blocks, rounds = (16, 8, 20) if gpu else (2, 1, 8 if scale is Scale.SMOKE else 20)
    ours, baseline = (_stepper(v, fields, blocks, device, seed) for v in ("SA-Conv", "TL-Conv"))
    sa, tl, ratio = _alternate(ours, baseline, rounds, device)
    allowed = 1.6 if gpu else 2.2
    return Measurement(
        "seconds of a training step",
        ours=sa,
        baseline=tl,
        criterion=f"parameter table exact, SA / TL <= {allowed}",
        passed=exact and ratio <= allowed,
        values={
            "ratio": ratio,
            "table exact": exact,
            "hypernetwork parameters": _count("edsr", 2, "saconv")[1],
        },
        tables=[
            Table(
                "parameters",
                ("network", "variant", "trainable", "hypernetwork", "geometry", "as published"),
                tuple(rows),
            )
        ],
    )


def _count(name: str, factor: int, variant: str) -> tuple[int, int, int]:
    options = {"scale": factor} if factor else {}
    # The Fourier basis is computed when a layer is built, which the meta device cannot.
    fourier = variant == "fconv" or name in ("rcan", "rcdnet")
    with torch.device("cpu" if fourier else "meta"):
        count = parameter_count(build_model(name, variant, **options))
    return count.as_published, count.hypernet, count.geometry


def _stepper(name: str, fields: int, blocks: int, device: torch.device, seed: int) -> Callable[[], None]:
    """A full training step on 16 patches of 48×48."""
    model: nn.Module = seeded(
        derive(seed, 50), lambda: EDSR(VARIANTS[name], 1, fields=fields, n_blocks=blocks)
    ).to(device)
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)
    generator = torch.Generator().manual_seed(derive(seed, 51))
    images: Tensor = (255 * torch.rand(16, 3, 48, 48, generator=generator)).to(device)

    def step() -> None:
        optimizer.zero_grad()
        (model(images) - images).abs().mean().backward()
        optimizer.step()

    return step


def _alternate(
    ours: Callable[[], None], baseline: Callable[[], None], rounds: int, device: torch.device
) -> tuple[float, float, float]:
    """Median seconds of both, taken in turn, and the median of their ratios."""

    def seconds(step: Callable[[], None]) -> float:
        if device.type == "cpu":
            start = time.process_time()
            step()
            return time.process_time() - start
        torch.cuda.synchronize(device)
        start = time.perf_counter()
        step()
        torch.cuda.synchronize(device)
        return time.perf_counter() - start

    for _ in range(2):
        seconds(ours), seconds(baseline)
    pairs = [(seconds(ours), seconds(baseline)) for _ in range(rounds)]
    ratios = sorted(a / b for a, b in pairs)
    return (
        sorted(a for a, _ in pairs)[rounds // 2],
        sorted(b for _, b in pairs)[rounds // 2],
        ratios[rounds // 2],
    )
