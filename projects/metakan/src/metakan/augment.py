"""Augmentations of the convolutional recipes (§5.2), on single uint8 images; torchvision is imported when one is made."""

from collections.abc import Callable

from torch import Tensor

Augmentation = Callable[[Tensor], Tensor]


def mnist_augmentation() -> Augmentation:
    """Affine jitter (20°, shift 0.1, scale 0.9–1.1) and brightness and contrast jitter of 0.2."""
    from torchvision.transforms import v2

    return v2.Compose([v2.RandomAffine(20, translate=(0.1, 0.1), scale=(0.9, 1.1)), v2.ColorJitter(0.2, 0.2)])


def cifar10_augmentation() -> Augmentation:
    """Horizontal flip, then one of AutoAugment's policies for CIFAR-10, ImageNet or SVHN, or TrivialAugmentWide."""
    from torchvision.transforms import v2

    policies = v2.AutoAugmentPolicy
    choices = [v2.AutoAugment(policy) for policy in (policies.CIFAR10, policies.IMAGENET, policies.SVHN)]
    return v2.Compose([v2.RandomHorizontalFlip(), v2.RandomChoice([*choices, v2.TrivialAugmentWide()])])


AUGMENTATIONS: dict[str, Callable[[], Augmentation]] = {
    "mnist": mnist_augmentation,
    "cifar10": cifar10_augmentation,
}
"""By the name used in presets."""
