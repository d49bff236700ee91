"""Images augmented in batches, on the device that trains. Needs torch and torchvision.

All randomness comes from torch's global generator on the CPU: a seed gives the same augmentations on every device.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2 import CutMix, MixUp, RandAugment, TrivialAugmentWide

POLICIES = {"trivial": TrivialAugmentWide, "rand": RandAugment}
MIXES = {"mixup": MixUp, "cutmix": CutMix}
GROUP = 8  # images that share one draw of a policy
ERASED_AREA = (0.02, 0.33)  # of the image; this and the ratio after Zhong et al. 2017, arXiv:1708.04896
ERASED_RATIO = (0.3, 3.3)  # height by width


@dataclass(frozen=True)
class Augmentation:
    """What happens to a batch before it is trained on. What is off costs nothing and draws nothing."""

    classes: int  # of the soft targets that mixing makes
    shift_pixels: int = 0  # an image is moved by up to so many, in both directions
    flip: bool = False  # half of the images are mirrored, left to right
    policy: str = "none"  # or "trivial", "rand"
    erase: float = 0.0  # probability that a box of an image is blackened
    mix: str = "none"  # or "mixup", "cutmix", "both": one of them for a batch, by chance
    mix_alpha: float = 1.0  # both parameters of the Beta distribution that a mixture is drawn from

    def __call__(self, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels, uint8 [n, h, w, c], and labels, int64 [n], as a step shall see them; the arguments stay as they are.

        Pixels stay uint8, but mixup makes them float32 within 0 to 255. Mixing makes labels float32 [n, classes].
        """
        if self.flip:
            pixels = flipped(pixels)
        if self.shift_pixels:
            pixels = shifted(pixels, self.shift_pixels)
        if self.policy != "none":
            pixels = changed(pixels, self.policy)
        if self.erase:
            pixels = erased(pixels, self.erase)
        if self.mix != "none":
            return mixed(pixels, labels, self.mix, self.mix_alpha, self.classes)
        return pixels, labels


def flipped(pixels: Tensor) -> Tensor:
    """Each image of [n, h, w, c] mirrored left to right with probability one half."""
    chosen = torch.rand(len(pixels), 1, 1, 1) < 0.5
    return torch.where(chosen.to(pixels.device), pixels.flip(2), pixels)


def shifted(pixels: Tensor, by: int) -> Tensor:
    """Each image of [n, h, w, c] moved by up to `by` pixels in both directions; black moves in."""
    n, height, width, _ = pixels.shape
    padded = functional.pad(pixels, (0, 0, by, by, by, by))
    top, left = torch.randint(2 * by + 1, (2, n, 1, 1)).to(pixels.device)
    rows = top + torch.arange(height, device=pixels.device)[:, None]
    columns = left + torch.arange(width, device=pixels.device)
    return padded[torch.arange(n, device=pixels.device)[:, None, None], rows, columns]


def changed(pixels: Tensor, policy: str) -> Tensor:
    """torchvision's TrivialAugmentWide or RandAugment, with its defaults, on uint8 [n, h, w, c].

    Every GROUP neighbouring images share one draw. A batch is in random order, so its groups are too, and an
    operation on a group costs little more than on one image.
    """
    change = POLICIES[policy]()
    groups = torch.split(pixels.permute(0, 3, 1, 2).contiguous(), GROUP)
    return torch.cat([change(group) for group in groups]).permute(0, 2, 3, 1).contiguous()


def erased(pixels: Tensor, probability: float) -> Tensor:
    """Each image of [n, h, w, c] with, by `probability`, one box blackened that lies wholly inside.

    Its area is uniform and its ratio log-uniform within the limits above; a side longer than the image is cut.
    """
    n, height, width, _ = pixels.shape
    area = torch.empty(n).uniform_(*ERASED_AREA) * height * width
    ratio = torch.empty(n).uniform_(*map(math.log, ERASED_RATIO)).exp()
    rows = _stretches((area * ratio).sqrt(), height)
    columns = _stretches((area / ratio).sqrt(), width)
    chosen = torch.rand(n, 1, 1) < probability
    boxes = chosen & rows[:, :, None] & columns[:, None, :]
    return pixels.masked_fill(boxes[..., None].to(pixels.device), 0)


def mixed(pixels: Tensor, labels: Tensor, mix: str, alpha: float, classes: int) -> tuple[Tensor, Tensor]:
    """Each image of [n, h, w, c] mixed with its neighbour by torchvision's MixUp or CutMix, and so its label.

    One mixture is drawn for the whole batch, as in the papers (arXiv:1710.09412, arXiv:1905.04899).
    """
    if mix == "both":
        mix = tuple(MIXES)[int(torch.randint(len(MIXES), ()))]
    if mix == "mixup":
        pixels = pixels.float()
    images, targets = MIXES[mix](alpha=alpha, num_classes=classes)(pixels.permute(0, 3, 1, 2), labels)
    return images.permute(0, 2, 3, 1).contiguous(), targets


def _stretches(lengths: Tensor, size: int) -> Tensor:
    """For each of n lengths a stretch of about that length at a random place in `size`: bool [n, size]."""
    lengths = lengths.round().clamp(1, size)
    starts = (torch.rand(len(lengths)) * (size - lengths + 1)).floor()
    places = torch.arange(size)
    return (places >= starts[:, None]) & (places < (starts + lengths)[:, None])
