"""LightningDataModules of the three tasks: where the clean images come from, how they are degraded, what is tested.

Training images, by name of the source:

    bsds500     399 photographs of BSDS500 train and test (without the one that Set5 tests on)
    div2k       DIV2K 1–800, validated on 801–810 as in the paper
    t91         the 91 small images of sparse-coding super-resolution
    builtin     photographs that come with scikit-image: no download
    rain100l    pairs of Rain100L (deraining only)

The last `n_val` images of a source are held out for model selection (DIV2K has its own). Training on an image that is
tested is refused by content, not by name.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import lightning
from torch.utils.data import DataLoader

from tenfold import restoration
from tenfold.restoration import ImagePair
from tenfold.runs import RunError

from .degradations import as_it_is, fresh_noise, noisy, rainy
from .pairs import Augmentation, Degrade, PairedImages, PatchDegrade, PatchSampler, RandomPatches
from .sources import Channels, Item, Source, clean_source, hold_out

TEST_SEED = 10_000
"""Seeds of test degradations start here, those of fixed training noise at 100,000: no realisation is shared."""
FIXED_NOISE_SEED = 100_000


class RestorationDataModule(lightning.LightningDataModule):
    """What the three tasks share: sources, patches, loaders. Subclasses say how images are degraded.

    An epoch is `epoch_length` batches of `batch_size` random patches; the patches are a pure function of
    (seed, epoch, number), so that workers, devices and a resumed run do not change them. Images are in 0…255.
    Validation and test images are whole, one at a time.

    Args:
        source: see the table at the top of this module.
        test_sets: names of the sets to test on; their order numbers the test loaders.
        scale: factor of super-resolution, 1 for other tasks.
        patch_size: side of the clean patches in pixels.
        batch_size: patches a step.
        epoch_length: steps an epoch.
        n_val: images held out of the source for validation.
        channels: 3, or 1 for grey.
        augment: "hflip", "vflip", "transpose", each with probability ½.
        num_workers: loader processes.
        cache: keep decoded images in memory (BSDS500: 185 MB; DIV2K: 7 GB).
        partial: accept an incomplete Urban100 or Rain100L.
        data_root: the data folder; None for `tenfold.data.root()`.
        seed: of the patches and everything drawn with them.
    """

    test_names: tuple[str, ...]

    def __init__(
        self,
        source: str,
        test_sets: Sequence[str],
        *,
        scale: int = 1,
        patch_size: int = 48,
        batch_size: int = 16,
        epoch_length: int = 1000,
        n_val: int = 10,
        channels: Channels = 3,
        augment: Sequence[Augmentation] = (),
        num_workers: int = 0,
        cache: bool = True,
        partial: bool = False,
        data_root: str | None = None,
        seed: int = 0,
    ):
        super().__init__()
        for name, value in (("batch_size", batch_size), ("epoch_length", epoch_length), ("n_val", n_val)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if scale < 1 or patch_size < 1 or patch_size % scale:
            raise ValueError(f"patch_size must be a positive multiple of scale={scale}, got {patch_size}")
        self.source, self.test_names = source, tuple(test_sets)
        self.scale, self.patch_size, self.batch_size = scale, patch_size, batch_size
        self.epoch_length, self.n_val, self.channels = epoch_length, n_val, channels
        self.augment, self.num_workers, self.cache = tuple(augment), num_workers, cache
        self.partial, self.data_root, self.seed = partial, data_root, seed
        self.train: RandomPatches | None = None
        self.val: PairedImages | None = None
        self.tests: dict[str, PairedImages] = {}

    # What a task decides; the defaults are those of super-resolution

    def degrade_image(self, part: Literal["train", "val", "test"]) -> Degrade | None:
        """How a whole image becomes degraded; None: from its pair, or by shrinking."""
        return None

    def degrade_patch(self) -> PatchDegrade | None:
        """What is done to every training patch on top."""
        return None

    def source_items(self) -> tuple[list[Item], list[Item]]:
        """Training and validation items of `self.source`."""
        return clean_source(self.source, self.n_val, self.scale, self.data_root, self.channels)

    def test_items(self, name: str) -> list[Item]:
        """Items of a test set."""
        if name == "builtin":
            return clean_source("builtin", self.n_val, self.scale, self.data_root)[1]
        if name in restoration.sets.DENOISING_COUNTS:
            return [
                ImagePair(file.stem, file) for file in restoration.denoising_benchmark(name, self.data_root)
            ]
        return list(restoration.benchmark(name, self.scale, self.data_root, partial=self.partial))

    def setup(self, stage: str | None = None) -> None:
        """Find and check the files; images are decoded on first use.

        Raises:
            RunError: (a ValueError) if a training image is in a test set; the files are named.
            DataNotFoundError: if a set is missing.
        """
        if self.train is not None:
            return
        train, val = self.source_items()
        tests = {name: self.test_items(name) for name in self.test_names}
        try:
            restoration.require_disjoint(
                _files(train + val), [f for items in tests.values() for f in _files(items)]
            )
        except ValueError as error:
            raise RunError(str(error)) from error  # a line to the user, not a traceback
        images = self._images(train, "train")
        self.train = RandomPatches(
            images, self.patch_size, augment=self.augment, degrade=self.degrade_patch(), seed=self.seed
        )
        self.val = self._images(val, "val")
        self.tests = {name: self._images(items, "test") for name, items in tests.items()}

    def train_dataloader(self) -> DataLoader[Any]:
        assert self.train is not None
        trainer = self.trainer
        sampler = PatchSampler(
            self.epoch_length * self.batch_size, lambda: trainer.current_epoch if trainer is not None else 0
        )
        return DataLoader(
            self.train, batch_size=self.batch_size, sampler=sampler, num_workers=self.num_workers
        )

    def val_dataloader(self) -> DataLoader[Any]:
        assert self.val is not None
        return DataLoader(self.val, batch_size=1)

    def test_dataloader(self) -> list[DataLoader[Any]]:
        return [DataLoader(images, batch_size=1) for images in self.tests.values()]

    def predict_dataloader(self) -> list[DataLoader[Any]]:
        return self.test_dataloader()

    def _images(self, items: list[Item], part: Literal["train", "val", "test"]) -> PairedImages:
        return PairedImages(
            items, self.degrade_image(part), scale=self.scale, channels=self.channels, cache=self.cache
        )


class DenoisingData(RestorationDataModule):
    """White Gaussian noise of standard deviation `sigma`, rounded and clipped to 8 bit (§5).

    Args:
        source: "bsds500", "div2k", "t91" or "builtin".
        sigma: noise level in units of an 8-bit image.
        fixed_noise: one noise realisation per training image, as in the paper's stored files; default is fresh noise
            with every patch.
        test_sets: any of Set5, Set14, B100, Urban100, BSD68, Set12, "builtin"; grey images get grey noise.
        patch_size … seed: see `RestorationDataModule`. The paper does not augment.

    Example:
        >>> data = DenoisingData("builtin", test_sets=(), patch_size=32, n_val=1)
        >>> data.setup()
        >>> noisy, clean = data.train[0]
        >>> noisy.shape, bool((noisy - clean).std() > 10)
        (torch.Size([3, 32, 32]), True)
    """

    def __init__(
        self,
        source: Source = "bsds500",
        sigma: float = 50.0,
        fixed_noise: bool = False,
        test_sets: Sequence[str] = ("Set5", "Set14", "B100", "BSD68"),
        patch_size: int = 48,
        batch_size: int = 16,
        epoch_length: int = 1000,
        n_val: int = 10,
        channels: Channels = 3,
        augment: Sequence[Augmentation] = (),
        num_workers: int = 0,
        cache: bool = True,
        partial: bool = False,
        data_root: str | None = None,
        seed: int = 0,
    ):
        super().__init__(
            source,
            test_sets,
            patch_size=patch_size,
            batch_size=batch_size,
            epoch_length=epoch_length,
            n_val=n_val,
            channels=channels,
            augment=augment,
            num_workers=num_workers,
            cache=cache,
            partial=partial,
            data_root=data_root,
            seed=seed,
        )
        if not 0 < sigma < 255:
            raise ValueError(f"sigma must lie between 0 and 255, got {sigma}")
        self.sigma, self.fixed_noise = sigma, fixed_noise

    def degrade_image(self, part: Literal["train", "val", "test"]) -> Degrade:
        if part == "train" and not self.fixed_noise:
            return as_it_is
        first = FIXED_NOISE_SEED + self.seed if part == "train" else TEST_SEED
        return functools.partial(noisy, sigma=self.sigma, first_seed=first)

    def degrade_patch(self) -> PatchDegrade | None:
        return None if self.fixed_noise else functools.partial(fresh_noise, sigma=self.sigma)


class SuperResolutionData(RestorationDataModule):
    """Low-resolution images by MATLAB's bicubic `imresize`; flips and transpose as augmentation (sa_conv §5).

    Args:
        source: "bsds500", "div2k", "t91" or "builtin".
        scale: 2, 3 or 4.
        test_sets: any of Set5, Set14, B100, Urban100, "builtin".
        patch_size: of the high-resolution patch, a multiple of `scale`.
        batch_size … seed: see `RestorationDataModule`.

    Example:
        >>> data = SuperResolutionData("builtin", test_sets=(), patch_size=32, n_val=1)
        >>> data.setup()
        >>> [tuple(patch.shape) for patch in data.train[0]]
        [(3, 16, 16), (3, 32, 32)]
    """

    def __init__(
        self,
        source: Source = "bsds500",
        scale: int = 2,
        test_sets: Sequence[str] = ("Set5", "Set14", "B100"),
        patch_size: int = 96,
        batch_size: int = 16,
        epoch_length: int = 1000,
        n_val: int = 10,
        channels: Channels = 3,
        augment: Sequence[Augmentation] = ("hflip", "vflip", "transpose"),
        num_workers: int = 0,
        cache: bool = True,
        partial: bool = False,
        data_root: str | None = None,
        seed: int = 0,
    ):
        if scale < 2:
            raise ValueError(f"scale must be at least 2 for super-resolution, got {scale}")
        super().__init__(
            source,
            test_sets,
            scale=scale,
            patch_size=patch_size,
            batch_size=batch_size,
            epoch_length=epoch_length,
            n_val=n_val,
            channels=channels,
            augment=augment,
            num_workers=num_workers,
            cache=cache,
            partial=partial,
            data_root=data_root,
            seed=seed,
        )


class DerainingData(RestorationDataModule):
    """Rainy/clean pairs: Rain100L, or streaks of random direction added to clean images. Only h-flip (sa_conv §5).

    Args:
        source: "rain100l", or a source of clean images, to which synthetic rain is added.
        test_sets: "rain100l", "builtin" (synthetic rain), or benchmarks with synthetic rain.
        density, intensity: of the synthetic rain, see `add_rain`.
        patch_size … seed: see `RestorationDataModule`.

    Example:
        >>> data = DerainingData("builtin", test_sets=(), patch_size=32, n_val=1)
        >>> data.setup()
        >>> rainy, clean = data.train[0]
        >>> bool((rainy >= clean).all())
        True
    """

    def __init__(
        self,
        source: Literal["rain100l", "bsds500", "div2k", "t91", "builtin"] = "rain100l",
        test_sets: Sequence[str] = ("rain100l",),
        density: float = 0.008,
        intensity: float = 120.0,
        patch_size: int = 64,
        batch_size: int = 16,
        epoch_length: int = 1000,
        n_val: int = 2,
        augment: Sequence[Augmentation] = ("hflip",),
        num_workers: int = 0,
        cache: bool = True,
        partial: bool = False,
        data_root: str | None = None,
        seed: int = 0,
    ):
        super().__init__(
            source,
            test_sets,
            patch_size=patch_size,
            batch_size=batch_size,
            epoch_length=epoch_length,
            n_val=n_val,
            augment=augment,
            num_workers=num_workers,
            cache=cache,
            partial=partial,
            data_root=data_root,
            seed=seed,
        )
        if ("rain100l" in test_sets) != (source == "rain100l") and "rain100l" in (source, *test_sets):
            raise ValueError(
                f"source={source!r} with test_sets={tuple(test_sets)}: train on Rain100L to test on it, "
                "or use synthetic rain on both sides"
            )
        self.density, self.intensity = density, intensity

    def source_items(self) -> tuple[list[Item], list[Item]]:
        if self.source != "rain100l":
            return super().source_items()
        pairs: list[Item] = list(restoration.rain100l("train", self.data_root, partial=self.partial))
        return hold_out(pairs, self.n_val, self.source)

    def test_items(self, name: str) -> list[Item]:
        if name != "rain100l":
            return super().test_items(name)
        return list(restoration.rain100l("test", self.data_root, partial=self.partial))

    def degrade_image(self, part: Literal["train", "val", "test"]) -> Degrade | None:
        if self.source == "rain100l":
            return None
        first = FIXED_NOISE_SEED + self.seed if part == "train" else TEST_SEED
        return functools.partial(rainy, density=self.density, intensity=self.intensity, first_seed=first)


def _files(items: Sequence[Item]) -> list[Path]:
    return [item.clean for item in items if isinstance(item, ImagePair)]
