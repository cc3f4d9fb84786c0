"""The data sets by name: BSDS500, DIV2K, T91, the super-resolution benchmarks, BSD68 and Set12, Rain100L.

Each function returns files in a fixed order, after checking how many there are. Where a set is known to be larger than
what was found, `partial=True` accepts the portion.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tenfold.data import DataNotFoundError
from tenfold.data import root as data_root

from .images import ImagePair

BSDS500_COUNTS = {"train": 200, "val": 100, "test": 200}

BSDS500_TEST_IMAGES = {"302003": "woman of Set5"}
"""Images of BSDS500 train and test that a benchmark tests on; `bsds500` leaves them out unless told otherwise."""

BENCHMARK_COUNTS = {"Set5": 5, "Set14": 14, "B100": 100, "Urban100": 100}
DENOISING_COUNTS = {"BSD68": 68, "Set12": 12}
RAIN100L_COUNTS = {"train": 200, "test": 100}

_SOURCES = {
    "BSDS500": "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/resources.html",
    "DIV2K": "https://data.vision.ee.ethz.ch/cvl/DIV2K/",
    "T91": "Yang et al. 2010; distributed with SRCNN implementations",
    "benchmark": "https://cv.snu.ac.kr/research/EDSR/benchmark.tar",
    "BSD68": "https://github.com/cszn/DnCNN (testsets)",
    "Set12": "https://github.com/cszn/DnCNN (testsets)",
    "Rain100L": "https://github.com/hongwang01/RCDNet (links to the data)",
}

Split = Literal["train", "val", "test"]


def bsds500(
    splits: Sequence[Split] = ("train", "test"),
    root: str | Path | None = None,
    *,
    leave_out: Sequence[str] = tuple(BSDS500_TEST_IMAGES),
) -> tuple[Path, ...]:
    """JPEG files of BSDS500, 481×321 or 321×481; by default all that may be trained on.

    Looked for in `bsds500/<split>`, `bsds500/images/<split>` and, as in the original archive,
    `BSR/BSDS500/data/images/<split>` or `BSDS500/data/images/<split>`.

    Args:
        splits: any of "train" (200), "val" (100; it **is** the benchmark B100) and "test" (200).
        root: the data folder; `tenfold.data.root()` if None.
        leave_out: file stems that are not returned; by default the one image that Set5 tests on.

    Raises:
        DataNotFoundError: if a split is missing.
        ValueError: for an unknown split, or a wrong number or size of images.
    """
    folder, files = _root(root), []
    for split in splits:
        if split not in BSDS500_COUNTS:
            raise ValueError(f"splits: {split!r} is not a split of BSDS500; known: train, val, test")
        places = [
            folder / "bsds500" / split,
            folder / "bsds500" / "images" / split,
            folder / "BSR" / "BSDS500" / "data" / "images" / split,
            folder / "BSDS500" / "data" / "images" / split,
        ]
        found = _images(_first(places, "BSDS500", _SOURCES["BSDS500"]))
        _require_count(found, BSDS500_COUNTS[split], f"BSDS500 {split}")
        _require_sizes(found, ((481, 321), (321, 481)))
        files += found
    return tuple(file for file in files if file.stem not in leave_out)


def div2k(first: int, last: int, scale: int = 1, root: str | Path | None = None) -> tuple[ImagePair, ...]:
    """Images `first` … `last` of DIV2K (1–800 train, 801–900 validation) with their bicubic low-resolution files.

    Looked for in `DIV2K/HR/0001.png`, `DIV2K/DIV2K_{train,valid}_HR/0001.png` and `DIV2K_{train,valid}_HR/0001.png`;
    low resolution in `DIV2K/LR_bicubic/X2/0001x2.png` and `[DIV2K/]DIV2K_{train,valid}_LR_bicubic/X2/0001x2.png`.
    At scale 1, or where there is no low-resolution folder, `degraded` is None.

    Raises:
        DataNotFoundError: if an image is missing.
        ValueError: for numbers outside 1…900 or the wrong way round.
    """
    if not 1 <= first <= last <= 900:
        raise ValueError(f"first and last must satisfy 1 <= first <= last <= 900, got {first} and {last}")
    folder, pairs = _root(root), []
    for number in range(first, last + 1):
        part = "train" if number <= 800 else "valid"
        places = [folder / "DIV2K" / "HR", folder / "DIV2K" / f"DIV2K_{part}_HR", folder / f"DIV2K_{part}_HR"]
        clean = _first([place / f"{number:04d}.png" for place in places], "DIV2K", _SOURCES["DIV2K"])
        low_folders = [
            folder / "DIV2K" / "LR_bicubic" / f"X{scale}",
            folder / "DIV2K" / f"DIV2K_{part}_LR_bicubic" / f"X{scale}",
            folder / f"DIV2K_{part}_LR_bicubic" / f"X{scale}",
        ]
        degraded = None
        if scale > 1 and any(place.is_dir() for place in low_folders):
            names = [place / f"{number:04d}x{scale}.png" for place in low_folders]
            degraded = _first(names, f"DIV2K low resolution ×{scale}", _SOURCES["DIV2K"])
        pairs.append(ImagePair(f"{number:04d}", clean, degraded))
    return tuple(pairs)


def t91(root: str | Path | None = None) -> tuple[Path, ...]:
    """The 91 small training images of sparse-coding super-resolution, in `sr/T91` or `T91`."""
    folder = _root(root)
    files = _images(_first([folder / "sr" / "T91", folder / "T91"], "T91", _SOURCES["T91"]))
    _require_count(files, 91, "T91")
    return tuple(files)


def benchmark(
    name: str, scale: int = 2, root: str | Path | None = None, *, partial: bool = False
) -> tuple[ImagePair, ...]:
    """Pairs of Set5, Set14, B100 (also "BSD100") or Urban100.

    Looked for in the EDSR packaging, `benchmark/<set>/HR/*.png` with `benchmark/<set>/LR_bicubic/X2/*x2.png`, and in
    `sr/<set>/x2/{HR,LR}`. B100 is taken from BSDS500 `val` where it has no folder. Where there are clean images but no
    low-resolution folder, `degraded` is None and `read_pair` makes them.

    Args:
        name: the set.
        scale: 2, 3, 4, …; 1 gives clean images only, for denoising.
        root: the data folder; `tenfold.data.root()` if None.
        partial: accept fewer images than the set has.

    Raises:
        DataNotFoundError: if the set, or the low-resolution partner of an image, is missing.
        ValueError: for an unknown set or a wrong number of images.
    """
    name = "B100" if name == "BSD100" else name
    if name not in BENCHMARK_COUNTS:
        raise ValueError(f"name: {name!r} is no benchmark; known: {', '.join(BENCHMARK_COUNTS)}, BSD100")
    folder = _root(root)
    pairs = _packaged(folder, name, scale)
    if pairs is None and name == "B100":
        pairs = [ImagePair(file.stem, file) for file in bsds500(("val",), root)]
    if pairs is None:
        places = [folder / "benchmark" / name / "HR", folder / "sr" / name / f"x{scale}" / "HR"]
        raise _missing(places, name, _SOURCES["benchmark"])
    _require_count(pairs, BENCHMARK_COUNTS[name], name, partial)
    return tuple(pairs)


def denoising_benchmark(name: str, root: str | Path | None = None) -> tuple[Path, ...]:
    """The grey test images BSD68 or Set12, in `denoise/<set>` or `<set>`.

    All of BSD68 is contained in the `val` split of BSDS500.
    """
    if name not in DENOISING_COUNTS:
        raise ValueError(f"name: {name!r} is no denoising benchmark; known: {', '.join(DENOISING_COUNTS)}")
    folder = _root(root)
    files = _images(_first([folder / "denoise" / name, folder / name], name, _SOURCES[name]))
    _require_count(files, DENOISING_COUNTS[name], name)
    return tuple(files)


def rain100l(
    split: Literal["train", "test"], root: str | Path | None = None, *, partial: bool = False
) -> tuple[ImagePair, ...]:
    """Rainy/clean pairs of Rain100L, in `rain100l/<split>/{rain,norain}/norain-N.png` (same name in both folders).

    Args:
        split: "train" (200 pairs) or "test" (100).
        root: the data folder; `tenfold.data.root()` if None.
        partial: accept a portion of the set.

    Raises:
        DataNotFoundError: if a folder or the partner of an image is missing.
        ValueError: for an unknown split or a wrong number of pairs.
    """
    if split not in RAIN100L_COUNTS:
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    folder = _root(root)
    places = [folder / stem / split / "norain" for stem in ("rain100l", "Rain100L")]
    clean = _first(places, "Rain100L", _SOURCES["Rain100L"])
    rainy = clean.parent / "rain"
    pairs = []
    for file in _images(clean):
        _first([rainy / file.name], f"the rainy partner of {file}", _SOURCES["Rain100L"])
        pairs.append(ImagePair(file.stem, file, rainy / file.name))
    _require_count(pairs, RAIN100L_COUNTS[split], f"Rain100L {split}", partial)
    return tuple(pairs)


def _packaged(folder: Path, name: str, scale: int) -> list[ImagePair] | None:
    """Pairs in the EDSR packaging or in the compact one; None if neither is there."""
    edsr = folder / "benchmark" / name
    compact = folder / "sr" / name
    if (edsr / "HR").is_dir():
        high, low, suffix = edsr / "HR", edsr / "LR_bicubic" / f"X{scale}", f"x{scale}"
    elif scale == 1 and compact.is_dir():
        # clean images for denoising: the least cropped ones
        high = min(compact.glob("x*/HR"), key=lambda path: int(path.parent.name[1:]), default=None)  # type: ignore[assignment,arg-type]
        low, suffix = compact / "none", ""
        if high is None:
            return None
    elif (compact / f"x{scale}" / "HR").is_dir():
        high, low, suffix = compact / f"x{scale}" / "HR", compact / f"x{scale}" / "LR", ""
    else:
        return None
    pairs = []
    for file in _images(high):
        partner = None
        if scale > 1 and low.is_dir():
            names = [low / f"{file.stem}{suffix}.png", low / f"{file.stem}.png"]
            partner = _first(names, f"the low-resolution partner of {file}", _SOURCES["benchmark"])
        pairs.append(ImagePair(file.stem, file, partner))
    return pairs


def _root(root: str | Path | None) -> Path:
    return data_root() if root is None else Path(root)


def _images(folder: Path) -> list[Path]:
    """Image files in natural order: norain-2 before norain-10."""
    files = [file for file in folder.iterdir() if file.suffix.lower() in (".png", ".jpg", ".jpeg", ".bmp")]
    return sorted(
        files, key=lambda file: [int(t) if t.isdigit() else t for t in re.split(r"(\d+)", file.stem)]
    )


def _first(candidates: Sequence[Path], what: str, source: str) -> Path:
    for path in candidates:
        if path.exists():
            return path
    raise _missing(candidates, what, source)


def _missing(candidates: Sequence[Path], what: str, source: str) -> DataNotFoundError:
    looked = "\n".join(f"  {path}" for path in candidates)
    return DataNotFoundError(f"{what} not found. Looked for\n{looked}\nWhere to get it\n  {source}")


def _require_count(found: Sequence[object], expected: int, name: str, partial: bool = False) -> None:
    if len(found) == expected or (partial and 0 < len(found) < expected):
        return
    mend = "; pass partial=True to use the portion" if 0 < len(found) < expected and not partial else ""
    raise ValueError(f"{name} has {len(found)} images here, the complete set has {expected}{mend}")


def _require_sizes(files: Sequence[Path], allowed: tuple[tuple[int, int], ...]) -> None:
    from PIL import Image

    for file in files:
        with Image.open(file) as image:
            if image.size not in allowed:
                sizes = " or ".join(f"{w}×{h}" for w, h in allowed)
                raise ValueError(f"{file} has {image.size[0]}×{image.size[1]} pixels, expected {sizes}")
