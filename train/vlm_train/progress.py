"""What a training run says while it runs."""

import time
from collections.abc import Callable

from vlm_contract.card import Scores
from vlm_contract.console import time_left

Show = Callable[[str], None]


class Progress:
    """Loss, validation accuracy, speed and time left, as one line of text after each step."""

    def __init__(
        self,
        samples: int,
        epochs_done: int,
        epochs: int,
        show: Show,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._epochs, self._show, self._clock = epochs, show, clock
        self._epoch = epochs_done + 1
        self._images_left = samples * (epochs - epochs_done)
        self._images_done = 0
        self._validation = ""
        self._started = clock()

    def stepped(self, loss: float, images: int) -> None:
        self._images_done += images
        seconds = max(self._clock() - self._started, 1e-9)
        left = time_left((self._images_left / self._images_done - 1) * seconds)
        self._show(
            f"epoch {self._epoch}/{self._epochs}  loss {loss:.3f}{self._validation}"
            f"  {self._images_done / seconds:.0f} images/s  {left} left"
        )

    def scored(self, scores: Scores) -> None:
        self._epoch = scores.epoch + 1
        self._validation = f"  validation {scores.validation_accuracy_percent:.1f} %"
