"""What happens in an epoch: images shifted, steps taken, scores computed. Needs torch; `vlm_train.train` drives it."""

import io
import math
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor
from torch.nn import functional

from vlm_contract.card import Backbone, Scores
from vlm_contract.errors import CheckFailed, VlmError
from vlm_train.data import Images, Splits
from vlm_train.recipe import Recipe

SCORED_AT_ONCE = 512  # images in one forward pass of an evaluation
EPOCH_STRIDE = 1_000_003  # keeps the random streams of neighbouring seeds apart

Step = Callable[[float, int], None]  # told of each step: its loss, and the images it trained on


class Loop:
    """One module in training. What an epoch does depends on the state and the epoch's number alone."""

    def __init__(self, module: torch.nn.Module, backbone: Backbone, splits: Splits, recipe: Recipe, seed: int) -> None:
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._module = module.to(self._device).to(memory_format=torch.channels_last)
        self._recipe = recipe
        self._seed = seed
        self.train_s = 0.0  # seconds spent in training steps
        self._train, self._validation, self._test = (
            _resident(images, self._device) for images in (splits.train, splits.validation, splits.test)
        )
        self._mean, self._std = (
            torch.tensor(by_channel, device=self._device)[:, None, None] for by_channel in (backbone.mean, backbone.std)
        )
        self._optimizer = torch.optim.AdamW(
            parameter_groups(module, recipe.weight_decay), lr=recipe.learning_rate, fused=True
        )

    def epoch(self, epoch: int, on_step: Step) -> Scores:
        """Train epoch number `epoch`, from 1, and score it. Raises CheckFailed where a loss is not finite."""
        torch.manual_seed(self._seed * EPOCH_STRIDE + epoch)
        started = time.perf_counter()
        self._module.train()
        batches = equal_batches(len(self._train[1]), self._recipe.batch_size)
        for index, batch in enumerate(batches):
            self._set_learning_rate((epoch - 1) * len(batches) + index, len(batches))
            loss = self._step(batch.to(self._device))
            check_finite(loss, epoch, f"step {index + 1} of {len(batches)}", self._recipe)
            on_step(loss, len(batch))
        self.train_s += time.perf_counter() - started
        train, validation = self._score(self._train), self._score(self._validation)
        check_finite(train[1] + validation[1], epoch, "its scoring", self._recipe)
        return Scores(epoch, *train, *validation)

    def test_accuracy_percent(self) -> float:
        return self._score(self._test)[0]

    def device_name(self) -> str:
        if self._device.type == "cuda":
            return torch.cuda.get_device_name()
        return f"cpu, {threads_used()} thread{'s' * (threads_used() > 1)}"

    def weights(self) -> bytes:
        """The weights as a safetensors file."""
        tensors = {name: tensor.cpu().contiguous() for name, tensor in self._module.state_dict().items()}
        return bytes(save(tensors))

    def load_weights(self, path: Path) -> None:
        self._module.load_state_dict(load_file(path))

    def state(self) -> dict[str, Any]:
        """What the next epoch starts from. Its randomness is no part of it: each epoch seeds its own."""
        return {"module": self._module.state_dict(), "optimizer": self._optimizer.state_dict(), "train_s": self.train_s}

    def load_state(self, state: dict[str, Any]) -> None:
        self._module.load_state_dict(state["module"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.train_s = state["train_s"]

    def _step(self, batch: Tensor) -> float:
        pixels, labels = self._train
        inputs = self._inputs(shifted(pixels[batch], self._recipe.shift_pixels))
        loss = functional.cross_entropy(self._module(inputs), labels[batch])
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        self._optimizer.step()
        return loss.item()

    @torch.inference_mode()
    def _score(self, images: tuple[Tensor, Tensor]) -> tuple[float, float]:
        """Top-1 accuracy in percent, and mean cross-entropy in nats; evaluation mode, no augmentation."""
        self._module.eval()
        correct, loss = 0, 0.0
        for pixels, labels in zip(*(torch.split(part, SCORED_AT_ONCE) for part in images), strict=True):
            logits = self._module(self._inputs(pixels))
            correct += int((logits.argmax(1) == labels).sum())
            loss += functional.cross_entropy(logits, labels, reduction="sum").item()
        return 100 * correct / len(images[1]), loss / len(images[1])

    def _inputs(self, pixels: Tensor) -> Tensor:
        """As `vlm_train.data.normalised`, on the device."""
        return (pixels.permute(0, 3, 1, 2).float() / 255 - self._mean) / self._std

    def _set_learning_rate(self, step: int, steps_per_epoch: int) -> None:
        rate = learning_rate_at(step, steps_per_epoch, self._recipe)
        for group in self._optimizer.param_groups:
            group["lr"] = rate


def make_reproducible(seed: int, threads: int) -> None:
    """Seed torch and fix what its sums depend on: on a CPU, equal threads give equal bits."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.manual_seed(seed)


def threads_used() -> int:
    return torch.get_num_threads()


def state_bytes(state: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def load_state(path: Path) -> dict[str, Any]:
    """What `state_bytes` wrote; empty where there is no file. Raises VlmError for a damaged one."""
    if not path.exists():
        return {}
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError):
        raise VlmError(f"{path} is damaged; the run cannot be continued.", hint="--overwrite") from None
    return state


def parameter_groups(module: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weights decay; biases and the scales of normalisations do not."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def equal_batches(images: int, batch_size: int) -> tuple[Tensor, ...]:
    """A random order of indices in equal parts of at least `batch_size`: no short last one upsets batch norm."""
    return torch.randperm(images).tensor_split(max(1, images // batch_size))


def learning_rate_at(step: int, steps_per_epoch: int, recipe: Recipe) -> float:
    """Linear warm-up to the recipe's rate, then half a cosine down to zero. `step` counts from 0."""
    warmup = min(recipe.warmup_epochs, recipe.epochs // 2) * steps_per_epoch
    if step < warmup:
        return recipe.learning_rate * (step + 1) / (warmup + 1)
    progress = (step - warmup) / (recipe.epochs * steps_per_epoch - warmup)
    return recipe.learning_rate * (1 + math.cos(math.pi * progress)) / 2


def shifted(pixels: Tensor, by: int) -> Tensor:
    """Each image of [n, h, w, c] moved by up to `by` pixels in both directions; black moves in."""
    n, height, width, _ = pixels.shape
    padded = functional.pad(pixels, (0, 0, by, by, by, by))
    top, left = torch.randint(2 * by + 1, (2, n, 1, 1)).to(pixels.device)
    rows = top + torch.arange(height, device=pixels.device)[:, None]
    columns = left + torch.arange(width, device=pixels.device)
    return padded[torch.arange(n, device=pixels.device)[:, None, None], rows, columns]


def check_finite(loss: float, epoch: int, place: str, recipe: Recipe) -> None:
    """Raise CheckFailed where a loss is NaN or infinite."""
    if not math.isfinite(loss):
        raise CheckFailed(
            f"The loss became {loss} in epoch {epoch}, {place}: the run diverged. The best epoch before it is kept.",
            hint=f"--lr {recipe.learning_rate / 3:.2g} --overwrite",
        )


def _resident(images: Images, device: torch.device) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(images.pixels).to(device), torch.from_numpy(images.labels).to(device)
