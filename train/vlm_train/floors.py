"""The two models that every training table carries beside the backbones: what needs no deep model, and a small one.

Imported lazily: needs torch.
"""

import math
from collections.abc import Callable

from torch import Tensor, nn

from vlm_train.heads import start_head_small

LARGEST_SIDE = 32  # pixels that `pixels` looks at


class Pixels(nn.Module):
    """Multinomial logistic regression on pixels; larger images are averaged down to at most 32 × 32. Starts at zero."""

    def __init__(self, num_classes: int, in_chans: int, img_size: int) -> None:
        super().__init__()
        self.num_classes, self.in_chans = num_classes, in_chans
        window = math.ceil(img_size / LARGEST_SIDE)
        self.pool = nn.AvgPool2d(window)
        self.fc = nn.Linear(in_chans * (img_size // window) ** 2, num_classes)
        nn.init.zeros_(self.fc.weight)
        nn.init.zeros_(self.fc.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes] of images [n, channels, img_size, img_size]."""
        logits: Tensor = self.fc(self.pool(images).flatten(1))
        return logits

    def get_classifier(self) -> nn.Module:
        return self.fc


class ResNet9(nn.Module):
    """Eight convolutions, of which four in two residual blocks, and a linear head: 1.65 M parameters.

    The design of D. Page's ResNet-9 for CIFAR-10 at half its widths.
    """

    def __init__(self, num_classes: int, in_chans: int) -> None:
        super().__init__()
        self.num_classes, self.in_chans = num_classes, in_chans
        self.stem = _convolution(in_chans, 32)
        self.layer1 = nn.Sequential(_convolution(32, 64), nn.MaxPool2d(2))
        self.block1 = nn.Sequential(_convolution(64, 64), _convolution(64, 64))
        self.layer2 = nn.Sequential(_convolution(64, 128), nn.MaxPool2d(2))
        self.layer3 = nn.Sequential(_convolution(128, 256), nn.MaxPool2d(2))
        self.block3 = nn.Sequential(_convolution(256, 256), _convolution(256, 256))
        self.fc = nn.Linear(256, num_classes)
        start_head_small(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes] of square images [n, channels, side, side] of at least 8 pixels."""
        x = self.layer1(self.stem(images))
        x = x + self.block1(x)
        x = self.layer3(self.layer2(x))
        x = x + self.block3(x)
        logits: Tensor = self.fc(x.amax((2, 3)))
        return logits

    def get_classifier(self) -> nn.Module:
        return self.fc


FLOORS: dict[str, Callable[..., nn.Module]] = {"pixels": Pixels, "resnet9": ResNet9}


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )
