"""The loops that the trainer is timed beside, and what all of them share."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from timm.data import create_loader
from timm.loss import LabelSmoothingCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import AverageMeter
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from vlm_contract.card import Backbone
from vlm_train.backbones import module_from_backbone
from vlm_train.data import Images, Splits, normalised
from vlm_train.precision import Precision
from vlm_train.recipe import Recipe

WORKERS = 2  # of both loaders


@dataclass(frozen=True)
class Setup:
    """What all variants share."""

    backbone: Backbone
    splits: Splits
    recipe: Recipe
    precision: Precision
    device: torch.device

    @property
    def steps(self) -> int:
        """In an epoch, of every variant."""
        return max(1, len(self.splits.train) // self.recipe.batch_size)

    def module(self) -> torch.nn.Module:
        module = module_from_backbone(self.backbone).train().to(self.device)
        return module.to(memory_format=self.precision.memory_format)

    def inputs(self, images: int) -> tuple[Tensor, Tensor]:
        """The first images, float32 [n, c, h, w], and their labels, int64 [n], on the device."""
        pixels = self.splits.train.batch(torch.arange(images).numpy())
        inputs = torch.from_numpy(normalised(pixels, self.backbone.mean, self.backbone.std)).to(self.device)
        labels = torch.from_numpy(self.splits.train.labels[:images]).to(self.device)
        return inputs.contiguous(memory_format=self.precision.memory_format), labels


class Step:
    """Forward, backward, fused AdamW: what every loop must do."""

    def __init__(self, setup: Setup) -> None:
        self._setup, self._module = setup, setup.module()
        self._optimizer = torch.optim.AdamW(self._module.parameters(), lr=setup.recipe.learning_rate, fused=True)
        self._scaler = torch.amp.GradScaler(setup.device.type, enabled=setup.precision.scale)

    def __call__(self, inputs: Tensor, targets: Tensor) -> None:
        self._optimizer.zero_grad()
        with self._setup.precision.autocast(self._setup.device):
            outputs = self._module(inputs)
        loss = functional.cross_entropy(outputs.float(), targets, label_smoothing=self._setup.recipe.label_smoothing)
        torch.autograd.backward(self._scaler.scale(loss))
        self._scaler.step(self._optimizer)
        self._scaler.update()


class Pictures(Dataset[Any]):
    """A PIL image and its label at a time, as loaders expect them; `transform` is the attribute that timm sets."""

    def __init__(self, images: Images, transform: Callable[[Image.Image], Any] | None = None) -> None:
        self._images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        picture = Image.fromarray(self._images.store[index])
        return self.transform(picture) if self.transform else picture, int(self._images.labels[index])


class Plain:
    """A torch DataLoader."""

    def __init__(self, setup: Setup) -> None:
        self._setup, self._step = setup, Step(setup)
        change = transforms.Compose(
            [
                transforms.RandomCrop(setup.backbone.image_size, padding=setup.recipe.shift_pixels),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(setup.backbone.mean, setup.backbone.std),
            ]
        )
        self._loader: Iterable[tuple[Tensor, Tensor]] = DataLoader(
            Pictures(setup.splits.train, change),
            setup.recipe.batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=WORKERS,
            pin_memory=setup.device.type == "cuda",
        )

    def epoch(self) -> None:
        device, memory_format = self._setup.device, self._setup.precision.memory_format
        for inputs, targets in self._loader:
            inputs = inputs.to(device, non_blocking=True, memory_format=memory_format)
            self._step(inputs, targets.to(device, non_blocking=True))


class Timm:
    """timm's public parts in the order of its training script."""

    def __init__(self, setup: Setup) -> None:
        self._setup, self._module, self._updates = setup, setup.module(), 0
        recipe, backbone = setup.recipe, setup.backbone
        self._loader: Any = create_loader(
            Pictures(setup.splits.train),
            (backbone.channels, backbone.image_size, backbone.image_size),
            recipe.batch_size,
            is_training=True,
            color_jitter=None,
            mean=backbone.mean,
            std=backbone.std,
            num_workers=WORKERS,
            pin_memory=setup.device.type == "cuda",
            device=setup.device,
        )
        self._loss = LabelSmoothingCrossEntropy(recipe.label_smoothing)
        self._optimizer: Any = create_optimizer_v2(
            self._module, "adamw", lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
        )
        self._scheduler: Any = create_scheduler_v2(
            self._optimizer, num_epochs=recipe.epochs, step_on_epochs=False, updates_per_epoch=setup.steps
        )[0]
        self._scaler = torch.amp.GradScaler(setup.device.type, enabled=setup.precision.scale)

    def epoch(self) -> None:
        losses = AverageMeter()
        for inputs, targets in self._loader:
            inputs = inputs.contiguous(memory_format=self._setup.precision.memory_format)
            with self._setup.precision.autocast(self._setup.device):
                loss = self._loss(self._module(inputs), targets)
            losses.update(loss.item(), len(inputs))
            self._optimizer.zero_grad()
            torch.autograd.backward(self._scaler.scale(loss))
            self._scaler.step(self._optimizer)
            self._scaler.update()
            self._updates += 1
            self._scheduler.step_update(self._updates, metric=losses.avg)


@contextmanager
def not_deterministic() -> Iterator[None]:
    """As torch is: the deterministic mode is ours, and others' loops do without."""
    mode = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("default")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
