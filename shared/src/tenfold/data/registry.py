"""The public data sets the loaders know: what they are, which files, which licence, where from."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class RemoteFile:
    """One file to download.

    Args:
        path: where it is put, relative to the data folder, with forward slashes.
        urls: addresses that serve the same bytes, tried in this order.
        checksum: "md5:…" or "sha256:…" of the file as served.
        unpack: whether it is an archive to be extracted beside itself.
    """

    path: str
    urls: tuple[str, ...]
    checksum: str
    unpack: bool = False


@dataclass(frozen=True)
class Dataset:
    """A data set.

    Args:
        files: what `tenfold data fetch` downloads; empty where nobody serves files with a known checksum, and for sets
            that are part of a library (`bundled`).
        loader: for sets that are fetched by hand, the function of `tenfold.restoration` that finds them, and
        arguments: those it is called with.
    """

    name: str
    title: str
    description: str
    licence: str
    source: str
    tree: str
    files: tuple[RemoteFile, ...] = ()
    bundled: bool = False
    loader: str = ""
    arguments: tuple[object, ...] = ()


_IDX_NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def _idx_tree(folder: str, raw: str, prefixes: tuple[str, ...] = ("train", "t10k")) -> str:
    names = [f"{p}-{kind}-ubyte.gz" for p in prefixes for kind in ("images-idx3", "labels-idx1")]
    return "\n".join(f"{folder}/{name}" for name in names) + f"\n(or unpacked, without .gz; or in {raw}/raw/)"


def _idx_files(folder: str, mirrors: tuple[str, ...], md5: tuple[str, ...]) -> tuple[RemoteFile, ...]:
    return tuple(
        RemoteFile(f"{folder}/{name}", tuple(mirror + name for mirror in mirrors), f"md5:{digest}")
        for name, digest in zip(_IDX_NAMES, md5, strict=True)
    )


_KMNIST_FILES = _idx_files(
    "kmnist",
    ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
    (
        "bdb82020997e1d708af4cf47b453dcf7",
        "e144d726b3acfaa3e44228e80efcd344",
        "5c965bf0a639b31b8f53240b1b52f4d7",
        "7320c461ea6c1c855c0b718fb2a4b134",
    ),
)

_ALL = (
    Dataset(
        name="digits",
        title="Digits (scikit-learn)",
        description="1,797 handwritten digits, 8×8, grey values 0–16",
        licence="CC BY 4.0 (UCI, Alpaydin and Kaynak)",
        source="part of scikit-learn; nothing to download",
        tree="(inside the scikit-learn package)",
        bundled=True,
    ),
    Dataset(
        name="mnist",
        title="MNIST",
        description="handwritten digits, 28×28 grey, 60,000 + 10,000",
        licence="CC BY-SA 3.0",
        source="https://ossci-datasets.s3.amazonaws.com/mnist/",
        tree=_idx_tree("mnist", "MNIST"),
        files=_idx_files(
            "mnist",
            (
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
            ),
            (
                "f68b3c2dcbeaaa9fbdd348bbdeb94873",
                "d53e105ee54ea40749a09fcbcd1e9432",
                "9fb629c4189551a2d022fa330f9573f3",
                "ec29112dd5afa0611ce80d1b7f02629c",
            ),
        ),
    ),
    Dataset(
        name="fashion_mnist",
        title="Fashion-MNIST",
        description="clothing, 28×28 grey, 10 classes, 60,000 + 10,000",
        licence="MIT (Zalando SE)",
        source="https://github.com/zalandoresearch/fashion-mnist",
        tree=_idx_tree("fashion_mnist", "FashionMNIST"),
        files=_idx_files(
            "fashion_mnist",
            ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
            (
                "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                "25c81989df183df01b3e8a0aad5dffbe",
                "bef4ecab320f06d8554ea6380940ec79",
                "bb300cfdad3c16e7a12a480ee83cd310",
            ),
        ),
    ),
    Dataset(
        name="kmnist",
        title="Kuzushiji-MNIST",
        description="cursive Japanese characters, 28×28 grey, 10 classes, 60,000 + 10,000",
        licence="CC BY-SA 4.0 (ROIS-DS Center for Open Data in the Humanities)",
        source="http://codh.rois.ac.jp/kmnist/",
        tree=_idx_tree("kmnist", "KMNIST"),
        files=_KMNIST_FILES,
    ),
    Dataset(
        name="kmnist-t10k",
        title="Kuzushiji-MNIST, test file only",
        description="the 10,000 test images of KMNIST, split by index: 8,000 to train, 2,000 to test",
        licence="CC BY-SA 4.0 (ROIS-DS Center for Open Data in the Humanities)",
        source="http://codh.rois.ac.jp/kmnist/",
        tree=_idx_tree("kmnist", "KMNIST", ("t10k",)),
        files=_KMNIST_FILES[2:],
    ),
    Dataset(
        name="cifar10",
        title="CIFAR-10",
        description="photographs, 32×32 RGB, 10 classes, 50,000 + 10,000",
        licence="none stated; cite Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009)",
        source="https://www.cs.toronto.edu/~kriz/cifar.html",
        tree=(
            "cifar-10-batches-py/data_batch_1 … data_batch_5, test_batch, batches.meta\n"
            "(or image files: cifar10/{train,test}/<class>/*.{png,jpg}, or the same tree in cifar10.zip)"
        ),
        files=(
            RemoteFile(
                "cifar-10-python.tar.gz",
                ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
                "md5:c58f30108f718f92721af3b95e74349a",
                unpack=True,
            ),
        ),
    ),
)

_RESEARCH = "for research; none stated"
_BENCHMARK = "https://cv.snu.ac.kr/research/EDSR/benchmark.tar (unpack in the data folder)"


def _benchmark(name: str, description: str, scale: int = 2, alternative: str = "") -> Dataset:
    tree = f"benchmark/{name}/HR/*.png\nbenchmark/{name}/LR_bicubic/X{scale}/*x{scale}.png (optional)"
    return Dataset(
        name=name.lower(),
        title=name,
        description=description,
        licence=_RESEARCH,
        source=_BENCHMARK,
        tree=f"{tree}\n(or {alternative or f'sr/{name}/x{scale}/HR/*.png'})",
        loader="benchmark",
        arguments=(name, scale),
    )


_RESTORATION = (
    Dataset(
        name="bsds500",
        title="BSDS500",
        description="photographs, 481×321 RGB, 200 train + 100 val + 200 test; val is the benchmark B100",
        licence="non-commercial research and education (UC Berkeley)",
        source="https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/resources.html",
        tree="BSR/BSDS500/data/images/{train,val,test}/*.jpg\n(or bsds500/{train,val,test}/*.jpg)",
        loader="bsds500",
        arguments=(("train", "val", "test"),),
    ),
    Dataset(
        name="div2k",
        title="DIV2K",
        description="photographs of 2K resolution, 800 train + 100 validation",
        licence="academic research",
        source="https://data.vision.ee.ethz.ch/cvl/DIV2K/",
        tree=(
            "DIV2K/DIV2K_train_HR/0001.png … 0800.png\nDIV2K/DIV2K_valid_HR/0801.png … 0900.png\n"
            "DIV2K/DIV2K_train_LR_bicubic/X2/0001x2.png … (optional)"
        ),
        loader="div2k",
        arguments=(1, 900),
    ),
    Dataset(
        name="t91",
        title="T91",
        description="91 small photographs, the classic training set of super-resolution",
        licence=_RESEARCH,
        source="Yang et al. 2010; distributed with SRCNN implementations",
        tree="sr/T91/*.png\n(or T91/*.png)",
        loader="t91",
    ),
    _benchmark("Set5", "5 photographs, super-resolution"),
    _benchmark("Set14", "14 photographs, super-resolution"),
    _benchmark("B100", "100 photographs, super-resolution", 2, "the val split of bsds500"),
    _benchmark("Urban100", "100 photographs of buildings, super-resolution", 4),
    Dataset(
        name="bsd68",
        title="BSD68",
        description="68 grey photographs, denoising; all of them are in BSDS500 val",
        licence="non-commercial research and education (UC Berkeley)",
        source="https://github.com/cszn/DnCNN (testsets)",
        tree="denoise/BSD68/*.png",
        loader="denoising_benchmark",
        arguments=("BSD68",),
    ),
    Dataset(
        name="set12",
        title="Set12",
        description="12 grey photographs, denoising",
        licence=_RESEARCH,
        source="https://github.com/cszn/DnCNN (testsets)",
        tree="denoise/Set12/*.png",
        loader="denoising_benchmark",
        arguments=("Set12",),
    ),
    Dataset(
        name="rain100l",
        title="Rain100L",
        description="photographs with synthetic rain, 200 train + 100 test pairs",
        licence=_RESEARCH,
        source="https://github.com/hongwang01/RCDNet (links to the data)",
        tree="rain100l/{train,test}/{rain,norain}/norain-N.png",
        loader="rain100l",
        arguments=("train",),
    ),
)

DATASETS: Mapping[str, Dataset] = MappingProxyType({data.name: data for data in _ALL + _RESTORATION})
"""Every known data set by name."""


def known(name: str) -> Dataset:
    """The data set called `name`.

    Raises:
        ValueError: if there is none; the known names are listed.
    """
    if name not in DATASETS:
        raise ValueError(f"unknown data set {name!r}; known: {', '.join(DATASETS)}")
    return DATASETS[name]
