"""One run on several processes: those that torchrun starts, one a GPU, or on CPUs through gloo."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from timm.layers import convert_sync_batchnorm
from torch import Tensor, distributed, nn


@dataclass(frozen=True)
class Group:
    """This process among those that train one run."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes the files and speaks."""
        return self.rank == 0

    def shared(self, module: nn.Module) -> nn.Module:
        """The module as it is trained: after a backward pass, gradients are the mean over the processes.

        On GPUs batch norm counts the images of all processes. On CPUs torch has none that does: each counts its own.
        """
        if self.size == 1:
            return module
        if self.device.type == "cuda":
            module = convert_sync_batchnorm(module)
        return nn.parallel.DistributedDataParallel(module)

    def share(self, images: int) -> slice:
        """The part of `images` that is this process's; the parts differ by one image at most."""
        return slice(images * self.rank // self.size, images * (self.rank + 1) // self.size)

    def align(self, module: nn.Module) -> None:
        """Give all processes the first one's buffers: each counts its own images into its batch norms."""
        for buffer in module.buffers() if self.size > 1 else ():
            distributed.broadcast(buffer, 0)

    def summed(self, values: Tensor) -> Tensor:
        """The sum over the processes, in place."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def agreed(self, numbers: Sequence[int]) -> list[int]:
        """The first process's numbers, for all."""
        tensor = torch.tensor(numbers, device=self.device)
        if self.size > 1:
            distributed.broadcast(tensor, 0)
        return [int(number) for number in tensor]

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            distributed.barrier()


@contextmanager
def joined_group() -> Iterator[Group]:
    """The group that torchrun's environment names; this process alone where there is none."""
    rank, size, local = (int(os.environ.get(name, default)) for name, default in _TORCHRUN)
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if size == 1:
        yield Group(device)
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Group(device, rank, size)
    finally:
        distributed.destroy_process_group()


_TORCHRUN = (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))
