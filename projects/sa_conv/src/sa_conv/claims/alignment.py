"""K1: equivariance matched to the symmetry level of the data gives the lowest error (abstract; section 5).

Three kinds of textures, three claims, and the case that fails:

    axis fixed in the data set     TL ≈ SA > B    when the network is equivariant up to its output
    axis drawn per image           SA > TL ≈ B    with the paper's plain output layer
    no axis                        all equal
    axis per image, equivariant output: SA did not adapt in the notes' runs (case 4 of section 7)

Thresholds are those of the notes, section 8, fixed before the first run. All models of a claim see the same batches and
choose their learning rate from the same candidates by the same short trials.
"""

from torch import Tensor, nn

from sa_conv.claims.networks import answers, channels_for, hypernetwork, texture_network
from sa_conv.claims.orbits import texture_orbits
from sa_conv.claims.textures import SIZES, Size, TextureTask, axis_correlation
from sa_conv.claims.training import Contender, Trained, table_rows, trainable
from sa_conv.convert import warm_start
from sa_conv.figures import answers_against_axis, scores
from tenfold.claims import Figure, Measurement, Scale, Table, claim

COLUMNS = ("model", "trainable parameters", "learning rate", "seconds per step", "PSNR (dB)")
QUANTITY = "PSNR on the centre of the test textures (dB, peak 1)"


@claim(
    "K1a",
    "One axis for the data set: a learned transformation pays, an adaptive one adds nothing",
    source="abstract; section 5",
)
def dataset_level(scale: Scale, seed: int) -> Measurement:
    """TL − B ≥ 0.4 dB and |SA − TL| ≤ 0.08 dB with an equivariant output layer; at smoke TL − B ≥ 0.3 dB, without SA."""
    size = SIZES[scale]
    task = TextureTask("dataset", size, seed)
    names = ("B-Conv", "TL-Conv") if scale is Scale.SMOKE else ("B-Conv", "TL-Conv", "SA-Conv")
    trained = task.school([_equivariant(name, size) for name in names], scale, size.steps)
    psnr = {name: task.psnr(t.model) for name, t in trained.items()}
    gain = psnr["TL-Conv"] - psnr["B-Conv"]
    if scale is Scale.SMOKE:
        criterion, passed = "TL − B >= 0.3 dB", gain >= 0.3
    else:
        difference = psnr["SA-Conv"] - psnr["TL-Conv"]
        criterion = "TL − B >= 0.4 dB and |SA − TL| <= 0.08 dB"
        passed = gain >= 0.4 and abs(difference) <= 0.08
    return Measurement(
        QUANTITY,
        ours=psnr["TL-Conv"],
        baseline=psnr["B-Conv"],
        criterion=criterion,
        passed=passed,
        values={"tl_minus_b": gain, **_values(psnr)},
        figures=[_bars("dataset-level", psnr, "One axis for all images, equivariant output")],
        tables=[_table(trained, psnr)],
    )


@claim(
    "K1b",
    "An axis per image: the sample-adaptive transformation pays",
    source="abstract; section 5",
    scales=("cpu", "gpu", "paper"),
    known_gaps={
        "cpu": "SA gains 0.39, 0.26 and 0.29 dB over TL where 0.35 are asked (seeds 0, 1, 2); w follows the axis in all three "
        "(0.89, 0.88, 0.90); a plain CNN of SA's parameters does as well as SA, within 0.05 dB"
    },
)
def sample_level(scale: Scale, seed: int) -> Measurement:
    """SA − TL ≥ 0.35 dB with the plain output layer, because w follows the axis of the image.

    Also required: some component of w has a multiple correlation of at least 0.6 with (cos 2a, sin 2a), and with the head
    of the hypernetwork frozen at zero the gain vanishes (|SA frozen − TL| ≤ 0.08 dB, the notes' "all equal"). The CNN with
    as many parameters as SA and hypernetwork together, and the CNN with as many channels, are reported.
    """
    size = SIZES[scale]
    task = TextureTask("sample", size, seed)
    contenders = [_plain(name, size) for name in ("B-Conv", "TL-Conv", "SA-Conv")]
    contenders.append(Contender("SA-Conv, head frozen at 0", lambda: _head_frozen(size)))
    sa_parameters = trainable(texture_network("SA-Conv", "plain", size))
    widths = {"equal parameters": channels_for(sa_parameters, size), "equal channels": 8 * size.fields}
    for label, channels in widths.items():
        contenders.append(_plain("CNN", size, f"CNN, {label}", channels))
    trained = task.school(contenders, scale, size.sample_steps)
    psnr = {name: task.psnr(t.model) for name, t in trained.items()}
    w = answers(trained["SA-Conv"].model, task.noisy)
    correlation = axis_correlation(w, task.test.angles)
    gain = psnr["SA-Conv"] - psnr["TL-Conv"]
    frozen_gain = psnr["SA-Conv, head frozen at 0"] - psnr["TL-Conv"]
    return Measurement(
        QUANTITY,
        ours=psnr["SA-Conv"],
        baseline=psnr["TL-Conv"],
        criterion="SA − TL >= 0.35 dB, correlation of some w with the axis >= 0.6, |SA with frozen head − TL| <= 0.08 dB",
        passed=gain >= 0.35 and max(correlation) >= 0.6 and abs(frozen_gain) <= 0.08,
        values={
            "sa_minus_tl": gain,
            "frozen_minus_tl": frozen_gain,
            "sa_minus_cnn_equal_parameters": psnr["SA-Conv"] - psnr["CNN, equal parameters"],
            **_values(psnr),
            **_w_values(w, correlation),
        },
        figures=[
            texture_orbits("learned-orbits", trained["SA-Conv"].model, task),
            answers_against_axis(
                "w-against-axis",
                task.test.angles,
                w,
                "What the hypernetwork answers follows the image's axis",
                "Scatter plot: the three numbers the hypernetwork answers for each test image over the true axis of that image.",
            ),
            _bars("sample-level", psnr, "An axis per image, plain output"),
        ],
        tables=[_table(trained, psnr)],
    )


@claim(
    "K1c", "No axis: adaptivity does no harm", source="abstract; section 5", scales=("cpu", "gpu", "paper")
)
def isotropic(scale: Scale, seed: int) -> Measurement:
    """|SA − B| ≤ 0.08 dB on isotropic textures, equivariant output layer."""
    size = SIZES[scale]
    task = TextureTask("iso", size, seed)
    trained = task.school([_equivariant(name, size) for name in ("B-Conv", "SA-Conv")], scale, size.steps)
    psnr = {name: task.psnr(t.model) for name, t in trained.items()}
    difference = psnr["SA-Conv"] - psnr["B-Conv"]
    return Measurement(
        QUANTITY,
        ours=psnr["SA-Conv"],
        baseline=psnr["B-Conv"],
        criterion="|SA − B| <= 0.08 dB",
        passed=abs(difference) <= 0.08,
        values={"sa_minus_b": difference, **_values(psnr)},
        tables=[_table(trained, psnr)],
    )


@claim(
    "K1d",
    "An axis per image with an equivariant output layer (the notes' failure case)",
    source="notes, section 7, case 4",
    scales=("cpu", "gpu", "paper"),
    known_gaps={
        "cpu": "SA − TL is −0.20, 0.28 and 0.33 dB (seeds 0, 1, 2); where w follows the axis (0.93 and 0.91, seeds 1 and 2) SA gains, "
        "but less than 0.35 dB; with seed 0 w stays constant"
    },
)
def sample_level_equivariant(scale: Scale, seed: int) -> Measurement:
    """SA − TL ≥ 0.35 dB where nothing but the hypernetwork can break the symmetry.

    In the notes' run w had stayed constant after 600 steps. This is no gate of the notes; it is measured and shown as it
    comes out, with the threshold of K1b.
    """
    size = SIZES[scale]
    task = TextureTask("sample", size, seed)
    trained = task.school(
        [_equivariant(name, size) for name in ("TL-Conv", "SA-Conv")], scale, size.sample_steps
    )
    psnr = {name: task.psnr(t.model) for name, t in trained.items()}
    w = answers(trained["SA-Conv"].model, task.noisy)
    gain = psnr["SA-Conv"] - psnr["TL-Conv"]
    return Measurement(
        QUANTITY,
        ours=psnr["SA-Conv"],
        baseline=psnr["TL-Conv"],
        criterion="SA − TL >= 0.35 dB",
        passed=gain >= 0.35,
        values={"sa_minus_tl": gain, **_values(psnr), **_w_values(w, axis_correlation(w, task.test.angles))},
        tables=[_table(trained, psnr)],
    )


def _plain(name: str, size: Size, label: str | None = None, channels: int | None = None) -> Contender:
    return Contender(label or name, lambda: texture_network(name, "plain", size, channels))


def _equivariant(name: str, size: Size) -> Contender:
    return Contender(name, lambda: texture_network(name, "equivariant", size))


def _head_frozen(size: Size) -> nn.Module:
    """SA-Conv that starts with the weights of TL-Conv and whose hypernetwork keeps answering w = 0."""
    start = texture_network("TL-Conv", "plain", size)
    model = texture_network("SA-Conv", "plain", size)
    model.load_state_dict(warm_start(start.state_dict(), model))
    hypernetwork(model).requires_grad_(False)
    return model


def _values(psnr: dict[str, float]) -> dict[str, float]:
    return {f"psnr {name}": value for name, value in psnr.items()}


def _w_values(w: Tensor, correlation: tuple[float, float, float]) -> dict[str, float]:
    values: dict[str, float] = {}
    for name, column, r in zip(("theta", "cx", "cy"), w.unbind(1), correlation):
        values |= {
            f"w_{name}_mean": float(column.mean()),
            f"w_{name}_std": float(column.std()),
            f"w_{name}_axis_correlation": r,
        }
    return values


def _table(trained: dict[str, Trained], psnr: dict[str, float]) -> Table:
    return Table("models", COLUMNS, table_rows(list(trained.values()), list(psnr.values())))


def _bars(name: str, psnr: dict[str, float], title: str) -> Figure:
    alt = (
        "Bars of the test PSNR: "
        + ", ".join(f"{label} {value:.2f} dB" for label, value in psnr.items())
        + "."
    )
    return scores(name, psnr, title, QUANTITY, alt)
