"""What happens in an epoch: images augmented, steps taken, scores computed. Needs torch."""

import io
import math
import pickle
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from timm.optim import param_groups_weight_decay
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vlm_contract.card import Backbone, Scores
from vlm_contract.errors import CheckFailed, VlmError
from vlm_contract.files import check_regular_file
from vlm_train.augmentation import Augmentation
from vlm_train.data import Images, Splits
from vlm_train.diagnosis import first_nonfinite, what_to_try
from vlm_train.distributed import Group
from vlm_train.precision import Precision
from vlm_train.recipe import Recipe

STATE_VERSION = 1  # of what a resume file holds
STATE_LIMIT_BYTES = 64 * 2**30
SCORED_AT_ONCE = 128  # images in one forward pass of an evaluation; four times as many took longer at 96 pixels
STRIDE = 1_000_003  # keeps the random streams of neighbouring seeds and epochs apart
LOOKED_EVERY = {"cpu": 1, "cuda": 20}  # steps between two looks at the loss: on a GPU each look waits for the device
ON_DEVICE_SHARE = 0.5  # of the GPU's free memory that images may fill

Step = Callable[[float, int], None]  # told of a step's loss, and of the images trained on since it was last told


class Loop:
    """One module in training. What an epoch does depends on the state and the epoch's number alone."""

    def __init__(
        self,
        module: torch.nn.Module,
        backbone: Backbone,
        splits: Splits,
        recipe: Recipe,
        seed: int,
        precision: Precision,
        group: Group,
        *,
        compiled: bool = False,
    ) -> None:
        self.train_s = 0.0  # seconds spent in training steps
        self.steps = 0
        self._device, self._group, self._precision = group.device, group, precision
        self._recipe, self._seed = recipe, seed
        self._module = module.to(self._device)
        self._module.to(memory_format=precision.memory_format)
        self._mean, self._std = (
            torch.tensor(by_channel, device=self._device)[:, None, None] for by_channel in (backbone.mean, backbone.std)
        )
        self._train, self._validation, self._test = (
            Pool(images, self._device) for images in (splits.train, splits.validation, splits.test)
        )
        self._learner = self._module
        if recipe.frozen:
            self._learner = classifier_of(self._module)
            self._train, self._validation = self._features(self._train), self._features(self._validation)
        self._augmentation = augmentation_of(recipe, len(backbone.classes))
        self._averaged = averaged(self._learner, recipe.ema)
        self._scored = self._averaged.module if self._averaged else self._learner
        self._forward = group.shared(self._learner)
        if compiled:
            self._forward.compile()
        self._optimizer = torch.optim.AdamW(
            parameter_groups(self._learner, recipe.weight_decay), lr=recipe.learning_rate, fused=True
        )
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=precision.scale)

    def epoch(self, epoch: int, on_step: Step) -> Scores:
        """Train epoch number `epoch`, from 1, and score it. Raises CheckFailed where a loss is not finite."""
        seed_stream(self._seed, epoch, 0)
        started = time.perf_counter()
        self._learner.train()
        batches = equal_batches(len(self._train), self._recipe.batch_size)
        untold, looked = 0, LOOKED_EVERY[self._device.type]
        for index, batch in enumerate(batches):
            self._set_learning_rate((epoch - 1) * len(batches) + index, len(batches))
            seed_stream(self._seed, epoch, index + 1)
            inputs, targets = self._augmented(batch)
            loss = self._loss(inputs, targets)
            untold += len(batch)
            if (index + 1) % looked == 0 or index + 1 == len(batches):
                mean = self._group.summed(loss.detach() / self._group.size).item()
                place = f"step {index + 1} of {len(batches)}" + f" or up to {looked} before it" * (looked > 1)
                self._check_finite(mean, inputs, targets, f"epoch {epoch}, {place}")
                on_step(mean, untold)
                untold, looked = 0, LOOKED_EVERY[self._device.type]
            self._descend(loss * (len(inputs) * self._group.size / len(batch)))
        self._group.align(self._scored)
        self.train_s += time.perf_counter() - started
        self.steps += len(batches)
        return self.scores(epoch, len(self._validation))

    def scores(self, epoch: int, train_scored: int) -> Scores:
        """Score the first `train_scored` training images, a stratified part, and all validation images."""
        train_scored = min(train_scored, len(self._train))
        train, validation = (
            self._score(self._scored, self._train, train_scored),
            self._score(self._scored, self._validation),
        )
        if not math.isfinite(train[1] + validation[1]):
            raise CheckFailed(
                f"The loss became {train[1] + validation[1]} when epoch {epoch} was scored: the run diverged. "
                "The best epoch before it is kept.",
                hint=self._what_to_try(),
            )
        return Scores(epoch, train_scored, *train, *validation)

    @property
    def learning_rate(self) -> float:
        """Of the last step."""
        return float(self._optimizer.param_groups[0]["lr"])

    def test_accuracy_percent(self) -> float:
        """Raises CheckFailed where a logit is not finite."""
        accuracy, loss = self._score(self._whole(), self._test)
        if not math.isfinite(loss):
            raise CheckFailed(f"The loss is {loss} on the test images.", hint=self._what_to_try())
        return accuracy

    def weights(self) -> bytes:
        """The weights that are scored, as a safetensors file."""
        return bytes(save({name: tensor.cpu().contiguous() for name, tensor in self._whole().state_dict().items()}))

    def load_weights(self, path: Path) -> None:
        self._whole().load_state_dict(load_file(path))

    def _whole(self) -> torch.nn.Module:
        """The whole network, as it is kept; where only the classifier learns, that is the one in its place."""
        return self._module if self._recipe.frozen else self._scored

    def state(self) -> dict[str, Any]:
        """What the next epoch starts from, copied. Its randomness is no part of it: each epoch seeds its own."""
        state = {
            "module": self._module.state_dict(),
            "averaged": self._averaged.state_dict() if self._averaged else {},
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "train_s": self.train_s,
            "steps": self.steps,
        }
        return {name: copied(part) for name, part in state.items()}

    def load_state(self, state: dict[str, Any]) -> None:
        self._module.load_state_dict(state["module"])
        if self._averaged:
            self._averaged.load_state_dict(state["averaged"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        self.train_s, self.steps = state["train_s"], state["steps"]

    def _augmented(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """This process's share of a batch. All processes draw the same whole, so that several do what one would."""
        pixels, labels = self._augmentation(self._train.pixels(batch), self._train.labels[batch])
        share = self._group.share(len(batch))
        return self._inputs(pixels[share]), labels[share]

    def _loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy of this process's share of a batch, in nats."""
        with self._precision.autocast(self._device):
            outputs = self._forward(inputs)
        return functional.cross_entropy(outputs.float(), targets, label_smoothing=self._recipe.label_smoothing)

    def _descend(self, loss: Tensor) -> None:
        """One step of the optimizer; the mean of `loss` over the processes is that of the whole batch."""
        self._optimizer.zero_grad()
        torch.autograd.backward(self._scaler.scale(loss))
        if self._recipe.clip_norm:
            self._scaler.unscale_(self._optimizer)
            torch.nn.utils.clip_grad_norm_(self._learner.parameters(), self._recipe.clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._averaged:
            self._averaged.update_parameters(self._learner)

    @torch.inference_mode()
    def _score(self, module: torch.nn.Module, pool: "Pool", first: int | None = None) -> tuple[float, float]:
        """Top-1 accuracy in percent and mean cross-entropy in nats of the first images; in FP32, not augmented."""
        module.eval()
        indices = torch.arange(len(pool))[:first]
        sums = torch.zeros(2, dtype=torch.float64, device=self._device)
        for batch in torch.split(indices[self._group.share(len(indices))], SCORED_AT_ONCE):
            labels = pool.labels[batch]
            logits = module(self._inputs(pool.pixels(batch)))
            sums[0] += (logits.argmax(1) == labels).sum()
            sums[1] += functional.cross_entropy(logits, labels, reduction="sum")
        correct, loss = self._group.summed(sums).tolist()
        return 100 * correct / len(indices), loss / len(indices)

    @torch.inference_mode()
    def _features(self, pool: "Pool") -> "Pool":
        """What the classifier is given for each image: float32 [n, features], computed once."""
        self._module.eval()
        seen: list[Tensor] = []
        hook = self._learner.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        for batch in torch.split(torch.arange(len(pool)), SCORED_AT_ONCE):
            self._module(self._inputs(pool.pixels(batch)))
        hook.remove()
        return Pool(Images(torch.cat(seen).cpu().numpy(), pool.labels.cpu().numpy()), self._device)

    def _inputs(self, pixels: Tensor) -> Tensor:
        """Images as `vlm_train.data.normalised`, on the device, where they stay as they lie; features as they are."""
        if pixels.ndim == 2:
            return pixels
        inputs = (pixels.permute(0, 3, 1, 2).float() / 255 - self._mean) / self._std
        return inputs.contiguous(memory_format=self._precision.memory_format)

    def _set_learning_rate(self, step: int, steps_per_epoch: int) -> None:
        rate = learning_rate_at(step, steps_per_epoch, self._recipe)
        for group in self._optimizer.param_groups:
            group["lr"] = rate

    def _what_to_try(self) -> str:
        return what_to_try(self._precision.dtype, self._recipe.learning_rate, self._recipe.clip_norm > 0)

    def _check_finite(self, loss: float, inputs: Tensor, targets: Tensor, place: str) -> None:
        if math.isfinite(loss):
            return
        with self._precision.autocast(self._device):
            cause = first_nonfinite(self._learner, inputs, targets)
        raise CheckFailed(
            f"The loss became {loss} in {place}: {cause}. The run diverged; the best epoch before it is kept.",
            hint=self._what_to_try(),
        )


class Pool:
    """Labelled images: on the device where they fit, else in memory or on disk, brought over batch by batch."""

    def __init__(self, images: Images, device: torch.device) -> None:
        self.labels = torch.from_numpy(images.labels).to(device)
        self._images, self._device = images, device
        self._resident = torch.from_numpy(images.pixels).to(device) if fits(images, device) else None

    def __len__(self) -> int:
        return len(self.labels)

    def pixels(self, indices: Tensor) -> Tensor:
        """uint8 [n, h, w, c] on the device."""
        if self._resident is not None:
            return self._resident[indices.to(self._device)]
        gathered = torch.from_numpy(self._images.batch(indices.numpy()))
        return gathered.pin_memory().to(self._device, non_blocking=True) if self._device.type == "cuda" else gathered


def fits(images: Images, device: torch.device) -> bool:
    """Whether images may lie on the device for the whole run."""
    if not images.resident or device.type == "cpu":
        return images.resident
    return images.store.nbytes < ON_DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]


def classifier_of(module: torch.nn.Module) -> torch.nn.Module:
    """The last, linear layer. Raises VlmError where a network has another head."""
    classifier: torch.nn.Module = module.get_classifier()  # type: ignore[operator]
    if not isinstance(classifier, torch.nn.Linear):
        raise VlmError(
            f"A probe needs one linear classifier; this network ends in {type(classifier).__name__}.",
            hint="--recipe finetune",
        )
    return classifier


def augmentation_of(recipe: Recipe, classes: int) -> Augmentation:
    return Augmentation(
        shift_pixels=recipe.shift_pixels,
        flip=recipe.flip,
        policy=recipe.policy,
        erase=recipe.erase,
        mix=recipe.mix,
        mix_alpha=recipe.mix_alpha,
        classes=classes,
    )


def averaged(module: torch.nn.Module, decay: float) -> AveragedModel | None:
    """A copy that follows the module's weights and buffers as an exponential moving average; none where decay is 0."""
    if not decay:
        return None
    average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(module, multi_avg_fn=average, use_buffers=True)


def make_reproducible(seed: int, threads: int) -> None:
    """Seed torch and fix what its sums depend on: on a CPU, equal threads give equal bits. FP32 is FP32, not TF32."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # takes 1 to 2 % of a step
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.manual_seed(seed)


def seed_stream(seed: int, epoch: int, step: int) -> None:
    """Give a step its own random stream: all processes of a run draw the same, whatever each drew before."""
    torch.manual_seed(((seed * STRIDE + epoch) * STRIDE + step) % 2**63)


def threads_used() -> int:
    return torch.get_num_threads()


def state_bytes(state: dict[str, Any]) -> bytes:
    """A resume state as the bytes of its file."""
    buffer = io.BytesIO()
    # Into memory: of a full disk torch would make a RuntimeError.
    torch.save({"version": STATE_VERSION, **state}, buffer)
    return buffer.getvalue()


def load_state(path: Path) -> dict[str, Any]:
    """A resume state; empty where there is no file. Raises VlmError for a damaged one."""
    if not path.exists():
        return {}
    check_regular_file(path, limit_bytes=STATE_LIMIT_BYTES)
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError):
        raise VlmError(f"{path} is damaged; the run cannot be continued.", hint="--overwrite") from None
    if not isinstance(state, dict) or state.get("version") != STATE_VERSION:
        raise VlmError(f"{path} was written by another version; the run cannot be continued.", hint="--overwrite")
    return state


def copied(state: Any) -> Any:
    """Nested dictionaries and lists with every tensor copied, so that training goes on beside its being written."""
    if isinstance(state, Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {name: copied(value) for name, value in state.items()}
    return [copied(value) for value in state] if isinstance(state, list) else state


def parameter_groups(module: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weights decay; biases, normalisations, GRN, and what timm names (position embeddings) do not."""
    spared: Collection[str] = getattr(module, "no_weight_decay", tuple)()
    groups: list[dict[str, Any]] = param_groups_weight_decay(module, weight_decay, no_weight_decay_list=spared)
    return groups


def equal_batches(images: int, batch_size: int) -> tuple[Tensor, ...]:
    """A random order of indices in equal parts of at least `batch_size`: no short last one upsets batch norm."""
    return torch.randperm(images).tensor_split(max(1, images // batch_size))


def learning_rate_at(step: int, steps_per_epoch: int, recipe: Recipe) -> float:
    """Linear warm-up to the recipe's rate; then that rate, or half a cosine down to zero. `step` counts from 0."""
    warmup = min(recipe.warmup_epochs, recipe.epochs // 2) * steps_per_epoch
    if step < warmup:
        return recipe.learning_rate * (step + 1) / (warmup + 1)
    if recipe.schedule == "constant":
        return recipe.learning_rate
    progress = (step - warmup) / (recipe.epochs * steps_per_epoch - warmup)
    return recipe.learning_rate * (1 + math.cos(math.pi * progress)) / 2
