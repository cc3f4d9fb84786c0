"""K3: denoising photographs at σ = 50."""

from sa_conv.claims import paper_protocol
from sa_conv.claims.comparison import compare
from sa_conv.claims.photographs import PhotographTask, Size
from tenfold.claims import Measurement, Scale, claim

SIZES = {
    Scale.SMOKE: Size(
        fields=3,
        blocks=1,
        patch_size=32,
        batch_size=4,
        steps=30,
        search_steps=0,
        rates=(5e-3,),
        source="builtin",
    ),
    Scale.CPU: Size(
        fields=3,
        blocks=2,
        patch_size=32,
        batch_size=4,
        steps=1500,
        search_steps=100,
        rates=(5e-3, 1e-2, 2e-2),
        every=4,
    ),
    Scale.GPU: Size(
        fields=16,
        blocks=8,
        patch_size=48,
        batch_size=16,
        steps=8000,
        search_steps=300,
        rates=(5e-4, 1e-3, 2e-3),
    ),
}

PUBLISHED = {"Set5": 32.020, "Set14": 30.051, "BSD100": 29.671, "Urban100": 31.059}
"""TL-Conv, from its authors' training logs; SA-Conv's table is not published as far as we know."""


@claim(
    "K3",
    "Denoising at σ = 50: SA ≥ TL ≥ B > CNN",
    source="section 5; predecessor logs",
    published="SA-Conv: not published; predecessor TL-Conv 32.020/30.051/29.671/31.059 dB (Set5, Set14, B100, Urban100)",
    known_gaps={
        "cpu": "SA trained from scratch is below TL by 0.63, 0.40 and 0.06 dB (seeds 0, 1, 2): the short search picks 0.01 for it, too "
        "large for the whole training; B − CNN of equal parameters is +0.04, +0.17 and +0.50 dB, and a CNN of equal channels "
        "is 0.37 to 1.15 dB better than B"
    },
)
def denoise_photographs(scale: Scale, seed: int) -> Measurement:
    """Y-PSNR of EDSRs of one family, trained with the same patches, steps and search of the learning rate.

    Colour needs at least three fields: all orientations of a field answer alike to a flat colour, so two fields see two
    colours. A first run with two fields gave B 26.35, TL 26.88, SA 27.77, CNN 27.63 dB for that reason (two is within the
    notes' range of 2–4, which allows grey images), and all took the largest rate of 2.5e-3 … 1e-2.

    smoke: the machinery runs; every model is better than the noisy image after 30 steps.
    cpu: on BSD100 (every 4th image), B ≥ CNN with equal parameters + 0.1 dB, and SA ≥ TL − 0.03 dB.
    gpu: TL ≥ B − 0.05 and SA ≥ TL − 0.05 dB on BSD100 (the notes' "within noise"), SA ≥ 31.0 dB on Set5, ≥ 28.9 on BSD100.
    paper: TL within 0.05 dB of its published numbers, SA ≥ TL on BSD100, on DIV2K by the paper's schedule.
    """
    if scale is Scale.PAPER:
        return paper_protocol.measure("denoise", PUBLISHED, seed)
    task = PhotographTask("denoise", SIZES[scale], scale, seed)
    result = compare(task, figure="denoised-crops", title="Denoising, σ = 50")
    if scale is Scale.SMOKE:
        worst = min(result.on("scikit-image").values())
        noisy = result.degraded["scikit-image"]
        return result.measurement("scikit-image", "every model beats the noisy image", worst > noisy)
    main = next(name for name in result.degraded if name.startswith("BSD100"))
    psnr = result.on(main)
    if scale is Scale.CPU:
        criterion = f"on {main}: B >= CNN (equal parameters) + 0.1 dB and SA >= TL - 0.03 dB"
        passed = (
            psnr["B-Conv"] >= psnr["CNN, equal parameters"] + 0.1
            and psnr["SA-Conv"] >= psnr["TL-Conv"] - 0.03
        )
    else:
        criterion = "BSD100: TL >= B - 0.05, SA >= TL - 0.05, SA >= 28.9 dB; Set5: SA >= 31.0 dB"
        ordered = psnr["TL-Conv"] >= psnr["B-Conv"] - 0.05 and psnr["SA-Conv"] >= psnr["TL-Conv"] - 0.05
        passed = ordered and psnr["SA-Conv"] >= 28.9 and result.on("Set5")["SA-Conv"] >= 31.0
    return result.measurement(main, criterion, passed)
