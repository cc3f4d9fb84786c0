"""Samples are pure functions of their draw numbers and show what they say; sets follow the protocols; nothing is silent."""

import logging
import math

import numpy as np
import pytest
import torch
from PIL import Image

from eq_asisr import make_coord
from eq_asisr.data import (
    ASISRData,
    DrawSampler,
    EvaluationSet,
    ImageFolder,
    NoGT,
    PairedImageFolders,
    SRDownsampled,
    SRPaired,
    oriented_scene,
    oriented_scenes,
    photographs,
    pillow_bicubic,
    pillow_pair,
    training_images,
)
from eq_asisr.data.folders import image_files
from eq_asisr.data.scenes import orientation
from tenfold.data import DataNotFoundError
from tenfold.imaging import imresize
from tenfold.metrics import restoration_psnr

BENCHMARK_PILLOW = {"Set5": {2: 33.6733, 3: 30.4032, 4: 28.4292, 6: 25.9300, 8: 24.3987}}


def picture(height=60, width=70, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)


def ramp(height=80, width=90):
    """Red grows with the row and green with the column, so that colours tell positions."""
    row, col = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([row, col, torch.zeros_like(row)]).to(torch.uint8)


def write(path, image, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.permute(1, 2, 0).numpy()).convert(mode).save(path)


def patches(images=None, **options):
    images = ImageFolder([picture(seed=s) for s in range(3)] if images is None else images)
    return SRDownsampled(images, **{"inp_size": 10, "sample_q": 50, **options})


def test_a_sample_is_a_pure_function_of_its_draw_number():
    one, other = patches(seed=4), patches(seed=4)
    assert all(torch.equal(a, b) for i in (5, 1, 900, 5) for a, b in zip(one[i], other[i]))
    assert not torch.equal(one[0].lr, patches(seed=5)[0].lr)
    cells = torch.stack([one[i].cell for i in range(200)])
    scales = 2 / 10 / cells
    assert scales.min() < 1.2
    assert scales.max() > 3.8
    assert scales.mean().item() == pytest.approx(2.5, abs=0.25)


@pytest.mark.parametrize("augment", [(), ("hflip",), ("vflip",), ("transpose",), ("rot90",)])
def test_colours_are_those_of_the_image_at_the_coordinates(augment):
    """Bilinear reading of the LR patch at the coordinates gives the colours of a linear image, whatever the augmentation."""
    samples = patches([ramp()], augment=augment, inp_size=16)
    for draw in range(6):
        lr, coord, cell, colour = samples[draw]
        inside = (coord.abs() < 0.7).all(-1)
        seen = torch.nn.functional.grid_sample(
            lr[None], coord.flip(-1)[None, None], align_corners=False, padding_mode="border"
        )[0, :, 0].T
        assert (seen - colour)[inside].abs().max() < 2 / 255, "rounding to 8 bit"
        assert cell.shape == (1, 2)


def test_augmentations_reach_their_symmetries():
    def seen(augment):
        samples = patches([ramp()], augment=augment, scale_max=1.0, sample_q=None)
        kinds = set()
        for draw in range(60):
            red, green = samples[draw].lr[:2]
            down = (red[-1, 0] - red[0, 0]).sign().item(), (green[-1, 0] - green[0, 0]).sign().item()
            right = (red[0, -1] - red[0, 0]).sign().item(), (green[0, -1] - green[0, 0]).sign().item()
            kinds.add((down, right))
        return len(kinds)

    assert [
        seen(a) for a in ((), ("hflip",), ("hflip", "vflip"), ("rot90",), ("hflip", "vflip", "transpose"))
    ] == [1, 2, 4, 4, 8]


def test_queries_are_drawn_without_replacement_and_none_means_all():
    sample = patches(scale_max=1.0, sample_q=100)[0]
    assert len(sample.coord.unique(dim=0)) == 100
    everything = patches(scale_max=1.0, sample_q=None, augment=())[0]
    assert torch.equal(everything.coord, make_coord((10, 10)))
    assert torch.equal(everything.colour.T.unflatten(1, (10, 10)), everything.lr), "at scale 1 they are equal"


def test_batches_stack_samples():
    samples = patches()
    batch = samples.batch([3, 4])
    assert [tuple(x.shape) for x in batch] == [(2, 3, 10, 10), (2, 50, 2), (2, 1, 2), (2, 50, 3)]
    assert torch.equal(batch.to(torch.device("cpu")).lr[1], samples[4].lr)


def test_draws_of_epochs_follow_each_other():
    assert [list(DrawSampler(2, lambda e=e: e)) for e in range(2)] == [[0, 1], [2, 3]]


def test_pillow_is_pillow_and_not_matlab():
    image = picture()
    expected = np.array(
        Image.fromarray(image.permute(1, 2, 0).numpy()).resize((35, 30), Image.Resampling.BICUBIC)
    )
    low = pillow_bicubic(image, (30, 35))
    assert torch.equal(low, torch.from_numpy(expected).permute(2, 0, 1))
    assert not torch.equal(low, imresize(image, 0.5))


@pytest.mark.parametrize("scale", [1, 1.5, 2.3, 6])
def test_pairs_are_cropped_as_liif_crops(scale):
    low, high = pillow_pair(picture(61, 75), scale)
    assert tuple(low.shape[1:]) == (math.floor(61 / scale + 1e-9), math.floor(75 / scale + 1e-9))
    assert tuple(high.shape[1:]) == (round(low.shape[1] * scale), round(low.shape[2] * scale))


def test_grey_files_are_converted_and_said_once(tmp_path, caplog):
    for i in range(2):
        write(tmp_path / f"{i}.png", picture(seed=i), "L")
    images = ImageFolder(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert [tuple(images[i].shape) for i in range(2)] == [(3, 60, 70)] * 2
    assert caplog.text.count("is grey") == 1


def test_folders_of_pairs_are_matched_by_stem(tmp_path):
    for name in ("0801", "0802"):
        write(tmp_path / "HR" / f"{name}.png", picture(41, 60))
        write(tmp_path / "LR" / f"{name}x2.png", picture(20, 30))
    pairs = PairedImageFolders(tmp_path / "LR", tmp_path / "HR", 2)
    low, high = pairs[1]
    assert (tuple(low.shape), tuple(high.shape)) == ((3, 20, 30), (3, 40, 60))
    sample = SRPaired(pairs, inp_size=8, sample_q=20)[3]
    assert [tuple(x.shape) for x in sample] == [(3, 8, 8), (20, 2), (1, 2), (20, 3)]
    whole = SRPaired(pairs, inp_size=None, sample_q=None, augment=())[0]
    assert torch.equal(whole.colour.T.unflatten(1, (40, 60)), high / 255)
    with pytest.raises(ValueError, match="has 20×30 pixels, inp_size is 48"):
        SRPaired(pairs)[0]
    with pytest.raises(ValueError, match="sample_q is 300, the patch has 256 pixels"):
        SRPaired(pairs, inp_size=8, sample_q=300)[0]


def test_folders_that_do_not_match_are_refused(tmp_path):
    write(tmp_path / "HR" / "a.png", picture())
    write(tmp_path / "HR" / "b.png", picture())
    write(tmp_path / "LR" / "ax2.png", picture())
    with pytest.raises(ValueError, match=r"LR has 1 images and .*HR has 2; without a partner: b"):
        PairedImageFolders(tmp_path / "LR", tmp_path / "HR", 2)
    write(tmp_path / "LR" / "bx2.png", picture())
    with pytest.raises(ValueError, match="the clean image must be 2 times as large"):
        PairedImageFolders(tmp_path / "LR", tmp_path / "HR", 2)[0]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no image"):
        image_files(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="no folder"):
        image_files(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("mode", "reason"), [("RGBA", "an alpha channel"), ("P", "a palette"), ("CMYK", "CMYK")]
)
def test_images_that_would_be_misread_are_refused(tmp_path, mode, reason):
    suffix = "jpg" if mode == "CMYK" else "png"
    write(tmp_path / f"odd.{suffix}", picture(), mode)
    with pytest.raises(ValueError, match=rf"odd\.{suffix} .*{reason}"):
        ImageFolder(tmp_path)[0]


def test_sixteen_bits_and_damage_are_refused(tmp_path):
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"not an image")
    images = ImageFolder(tmp_path)
    with pytest.raises(ValueError, match=r"a\.png has more than 8 bits per channel"):
        images[0]
    with pytest.raises(ValueError, match=r"b\.png is not an image"):
        images[1]
    with pytest.raises(ValueError, match=r"b\.png is not an image"):
        ImageFolder([tmp_path / "b.png"], min_side=4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ImageFolder([]), "source holds no image: it is empty"),
        (lambda: ImageFolder([picture()], min_side=61), "none of 1 images has sides of at least 61"),
        (lambda: ImageFolder([picture().float()]), r"source\[0\] must be a uint8 tensor"),
        (lambda: patches(inp_size=0), "inp_size must be at least 1, got 0"),
        (lambda: patches(scale_min=0.5), "scale_min"),
        (lambda: patches(scale_max=math.nan), "scale_max"),
        (lambda: patches(scale_min=3, scale_max=2), "got 3 and 2"),
        (lambda: patches(sample_q=101), "sample_q must lie between 1 and 100"),
        (lambda: patches(augment=("flip",)), "augment: 'flip' is unknown"),
        (lambda: patches(inp_size=40, scale_min=3, scale_max=3)[0], r"image \d has 60×70 pixels, a patch of 40 at scale 3"),
        (lambda: SRPaired(None, inp_size=0), "inp_size must be at least 1, or None, got 0"),
        (lambda: NoGT(ImageFolder([picture()]), math.nan), "scale must be a finite number of at least 1"),
        (lambda: DrawSampler(0, lambda: 0), "length must be at least 1, got 0"),
        (lambda: PairedImageFolders("a", "b", 0), "scale must be at least 1, got 0"),
        (lambda: pillow_bicubic(picture()[0], (3, 3)), r"image must have shape \(3, h, w\)"),
        (lambda: pillow_bicubic(picture(), (0, 3)), "size must be at least"),
        (lambda: pillow_pair(picture(), 0.5), "scale must be a finite number of at least 1, got 0.5"),
        (lambda: pillow_pair(picture(), 61), "scale 61 leaves no pixel of an image of 60×70"),
        (lambda: EvaluationSet("Set6", 2), "name must be one of Set5, Set14"),
        (lambda: EvaluationSet("builtin", 0), "scale must be a finite number of at least 1, got 0"),
        (lambda: EvaluationSet("builtin", 2, lowres="lanczos"), "lowres must be 'matlab' or 'pillow'"),
        (lambda: EvaluationSet("builtin", 2.5, lowres="matlab"), "lowres='matlab' needs a whole scale"),
        (lambda: EvaluationSet("builtin", 2, first=0), "first must be at least 1, got 0"),
        (lambda: training_images("imagenet", 1), "source must be one of bsds500, t91, div2k, builtin, folder"),
        (lambda: training_images("builtin", 4), "n_val is 4, but source 'builtin' has only 4 images"),
        (lambda: training_images("builtin", 0), "n_val must be at least 1, got 0"),
        (lambda: training_images("builtin", 1, folder="x"), "folder belongs to source='folder'"),
        (lambda: training_images("folder", 1), "folder belongs to source='folder'"),
        (lambda: photographs(("cat",)), "names: 'cat' is not a photograph"),
        (lambda: oriented_scene(0, 0), "size and cells must be at least 1"),
        (lambda: oriented_scene(8, 0, spread=91), "spread must lie between 0 and 90 degrees"),
        (lambda: oriented_scene(8, 0, period=(3.0, 2.0)), "period must be two positive increasing lengths"),
        (lambda: oriented_scenes(0, 8, 0), "n must be at least 1, got 0"),
        (lambda: ASISRData(batch_size=0), "batch_size must be at least 1, got 0"),
        (lambda: ASISRData(num_workers=-1), "num_workers must be at least 0, got -1"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_bytes_are_needed():
    with pytest.raises(TypeError, match=r"image must be uint8, got torch\.float32"):
        pillow_bicubic(picture().float(), (3, 3))


def test_missing_data_are_not_replaced(tmp_path):
    for source in ("bsds500", "t91", "div2k"):
        with pytest.raises(DataNotFoundError, match="not found"):
            training_images(source, 1, root=tmp_path)
    with pytest.raises(DataNotFoundError, match="Set5 not found"):
        EvaluationSet("Set5", 6, root=tmp_path)


def test_a_folder_can_be_trained_on(tmp_path):
    for i in range(3):
        write(tmp_path / f"{i}.png", picture(seed=i))
    train, val = training_images("folder", 1, folder=tmp_path)
    assert [file.stem for file in train.files] == ["0", "1"]
    assert torch.equal(val[0], picture(seed=2))


def test_the_data_module_trains_and_tests_on_different_photographs():
    data = ASISRData(
        "builtin",
        inp_size=8,
        sample_q=16,
        test_sets=("builtin",),
        test_scales=(2, 2.5),
        n_val=1,
        val_draws=4,
        epoch_length=3,
        batch_size=2,
    )
    data.setup()
    batches = list(data.train_dataloader())
    assert len(batches) == 3
    assert [tuple(x.shape) for x in batches[0]] == [(2, 3, 8, 8), (2, 16, 2), (2, 1, 2), (2, 16, 3)]
    assert sum(len(batch[0]) for batch in data.val_dataloader()) == 4
    assert data.test_names == ["builtin_x2", "builtin_x2.5"]
    lr, hr = next(iter(data.test_dataloader()[1]))
    assert (tuple(lr.shape), tuple(hr.shape)) == ((1, 3, 204, 204), (1, 3, 510, 510))
    tested = list(photographs(("astronaut", "coffee", "chelsea")).values())
    assert not any(
        torch.equal(image, other)
        for part in (data.train.images, data.val.images)
        for image in part.items
        for other in tested
    )


def test_scenes_keep_to_their_axis():
    near = torch.stack([orientation(scene) for scene in oriented_scenes(6, 64, 0)])
    assert (near > 0.6).all(), "vertical stripes within 20 degrees"
    turned = torch.stack([orientation(torch.rot90(scene, 1, (1, 2))) for scene in oriented_scenes(6, 64, 0)])
    assert torch.allclose(turned, 1 - near)
    across = torch.stack([orientation(scene) for scene in oriented_scenes(6, 64, 0, axis=90.0)])
    assert (across < 0.4).all()
    assert not torch.equal(oriented_scene(32, 1), oriented_scene(32, 2))
    assert torch.equal(oriented_scene(32, 1), oriented_scene(32, 1))


@pytest.mark.realdata
@pytest.mark.parametrize("scale", [2, 4, 6])
def test_protocol_on_set5_with_pillow(scale):
    images = EvaluationSet("Set5", scale, lowres="pillow")
    decibels = []
    for pair in images:
        low = (pair.lr * 255).round().to(torch.uint8)
        up = pillow_bicubic(low, tuple(pair.hr.shape[1:])) / 255
        decibels.append(
            restoration_psnr(up[None], pair.hr[None], scale=scale, protocol=images.protocol).item()
        )
    assert np.mean(decibels) == pytest.approx(BENCHMARK_PILLOW["Set5"][scale], abs=2e-3)


@pytest.mark.realdata
def test_distributed_files_are_used_where_they_are_and_made_where_not():
    distributed = EvaluationSet("Set5", 3)[2]
    assert distributed.hr.shape[1] == 3 * distributed.lr.shape[1]
    low = imresize((distributed.hr * 255).round().to(torch.uint8), 1 / 3)
    assert torch.equal(low / 255, distributed.lr), "made ones are bit-identical"
    urban = EvaluationSet("Urban100", 3, partial=True, first=1)[0]
    assert urban.hr.shape[1] == 3 * urban.lr.shape[1]
    with pytest.raises(ValueError, match="Urban100 has 6 images here, the complete set has 100"):
        EvaluationSet("Urban100", 4)


@pytest.mark.realdata
def test_training_on_what_is_tested_is_refused():
    data = ASISRData("bsds500", test_sets=("B100",), test_scales=(2,))
    data.setup("fit")
    assert len(data.train.images) == 389
    assert len(data.val.images) == 10
