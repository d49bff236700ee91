"""What an engine is asked on its device, and what its outputs say of it; checkpoint and engine are arrays here."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vlm_contract.codec import Absent
from vlm_contract.manifest import Accuracy, Engine
from vlm_export.on_device import Questions, evenly_after, images_for, judged_on_device, questions_of
from vlm_export.parity import Trial
from vlm_export.proof import NO_IMAGES, Oracle, Seen
from vlm_export.tensorrt.builder import Built
from vlm_export.tensorrt.builder import Wanted as Order
from vlm_export.tensorrt.child import Made
from vlm_export.tensorrt.device import Identity

ORDER = Order("tensorrt", "fp16", (1, 8, 32))
COMPARED = 32  # images with an answer in FP64
YARDSTICKS = {"fp32": 1e-7, "fp16": 1e-3, "int8": 0.01}


class Shape:
    """A test double of a backbone."""

    channels, image_size = 1, 2
    mean = std = (0.5,)


BACKBONE: Any = Shape()


def oracle(count: int = 600, classes: int = 10) -> Oracle:
    """One whose images carry their number, and whose answers are random."""
    random = np.random.RandomState(0)
    pixels = np.zeros((count, 2, 2, 1), np.uint8)
    pixels[:, 0, 0, 0], pixels[:, 0, 1, 0] = np.arange(count) % 256, np.arange(count) // 256
    logits = random.standard_normal((count, classes)) * 5
    labels = np.where(random.rand(count) < 0.8, logits.argmax(axis=1), 0)
    trial = Trial("validation images", pixels[:COMPARED], logits[:COMPARED], 32, YARDSTICKS)
    return Oracle((trial,), Seen("validation images", pixels, labels, logits, logits.copy()))


def numbers_of(questions: Questions) -> Any:
    """Which images they are."""
    return questions.pixels[:, 0, 0, 0].astype(int) + 256 * questions.pixels[:, 0, 1, 0].astype(int)


def answered(outputs: Any, digits: int | None = 6) -> Made:
    none = Absent("a test double")
    record = Engine("tensorrt", "trtexec", "a test double", none, none, none, none, (1.0,), none, none, 0)
    return Made(Built(b"", none, record), Identity("TensorRT 10.3.0", "a test double", "8.7"), outputs, digits)


def logits_of(questions: Questions) -> Any:
    assert questions.oracle.seen is not None
    return questions.oracle.seen.logits.copy()


# What is asked


@pytest.mark.parametrize(("first", "of", "most"), [(32, 600, 512), (32, 33, 33), (32, 5000, 64), (4, 600, 4)])
def test_images_are_the_first_ones_and_others_evenly_after(first: int, of: int, most: int) -> None:
    chosen = evenly_after(first, of, most)
    assert len(chosen) == most
    assert chosen[:first].tolist() == list(range(first))
    assert (np.diff(chosen) > 0).all() and chosen[-1] < of
    assert most == first or max(np.diff(chosen)[first:], default=1) <= -(-(of - first) // (most - first))


def test_as_many_images_are_asked_as_the_calls_take() -> None:
    questions = questions_of(oracle(), BACKBONE, ORDER, calls=16)
    assert (len(questions.pixels), questions.of) == (512, 600)
    assert questions.oracle.trials[0].origin == "validation images (512 of 600 on the device)"
    whole = oracle().seen
    assert whole is not None and questions.oracle.seen is not None
    assert (questions.oracle.seen.logits == whole.logits[numbers_of(questions)]).all()
    assert (questions.oracle.seen.labels == whole.labels[numbers_of(questions)]).all()


def test_all_images_are_asked_where_the_calls_take_them() -> None:
    questions = questions_of(oracle(500), BACKBONE, ORDER, calls=16)
    assert numbers_of(questions).tolist() == list(range(500))
    assert questions.oracle.trials[0].origin == "validation images"


def test_fewer_calls_than_the_comparison_takes_shorten_it() -> None:
    questions = questions_of(oracle(), BACKBONE, replace(ORDER, batches=(1, 1, 1)), calls=16)
    (trial,) = questions.oracle.trials
    assert len(trial.pixels) == len(trial.truth) == len(questions.pixels) == 16


def test_large_images_are_asked_within_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlm_export.on_device.IMAGES_LIMIT_BYTES", 100 * 4 * 4)
    assert len(questions_of(oracle(), BACKBONE, ORDER, calls=16).pixels) == 100


def test_images_are_repeated_up_to_the_least_batch() -> None:
    questions = questions_of(oracle(500), BACKBONE, replace(ORDER, batches=(8, 8, 8)), calls=1)
    assert images_for(questions, BACKBONE, replace(ORDER, batches=(24, 24, 24))).shape == (24, 1, 2, 2)
    assert images_for(None, BACKBONE, ORDER).shape == (8, 1, 2, 2)


# What the outputs say


def test_true_outputs_pass_with_their_accuracy() -> None:
    questions = questions_of(oracle(), BACKBONE, ORDER, calls=16)
    judged = judged_on_device(answered(logits_of(questions) + 5e-4), questions, ORDER)
    assert isinstance(judged.parity, tuple) and isinstance(judged.accuracy, Accuracy)
    assert judged.parity[0].origin == "validation images (512 of 600 on the device; outputs printed to 6 digits)"
    assert (judged.parity[0].samples, judged.accuracy.samples, judged.accuracy.lost) == (32, 512, 0)
    assert judged.refused == ()


def test_printing_is_no_fault_of_the_engines() -> None:
    order = replace(ORDER, precision="fp32")
    questions = questions_of(oracle(), BACKBONE, order, calls=1)
    printed = np.vectorize(lambda number: float(f"{number:.6g}"))(logits_of(questions))
    assert judged_on_device(answered(printed), questions, order).refused == ()
    assert "over the tolerance" in judged_on_device(answered(printed, None), questions, order).refused[0]
    assert "over the tolerance" in judged_on_device(answered(printed + 1e-4), questions, order).refused[0]


def test_a_huge_output_widens_no_tolerance() -> None:
    questions = questions_of(oracle(), BACKBONE, ORDER, calls=16)
    outputs = logits_of(questions) + 0.1
    outputs[-1, outputs[-1].argmax()] = 1e9
    assert "over the tolerance" in judged_on_device(answered(outputs), questions, ORDER).refused[0]


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_wrong_class_behind_those_compared_refuses(precision: Any) -> None:
    order = replace(ORDER, precision=precision)
    questions = questions_of(oracle(), BACKBONE, order, calls=16)
    outputs = logits_of(questions)
    outputs[COMPARED:] = outputs[COMPARED:, ::-1]
    judged = judged_on_device(answered(outputs), questions, order)
    assert isinstance(judged.parity, tuple) and judged.parity[0].passed
    assert isinstance(judged.accuracy, Accuracy) and judged.accuracy.drop_points > 30
    assert len(judged.refused) == 1 and "get another class than from the checkpoint" in judged.refused[0]


def test_one_image_without_a_number_refuses() -> None:
    questions = questions_of(oracle(), BACKBONE, ORDER, calls=16)
    outputs = logits_of(questions)
    outputs[-1, 3] = np.nan
    judged = judged_on_device(answered(outputs), questions, ORDER)
    assert judged.refused == ("on validation images the engine gives NaN or infinity for 1 of 512 samples",)
    assert judged.accuracy == Absent("the engine gave no outputs that can be scored")


def test_every_reason_is_said() -> None:
    questions = questions_of(oracle(), BACKBONE, ORDER, calls=16)
    outputs = logits_of(questions) + 0.1
    outputs[-1, 3] = np.inf
    first, second = judged_on_device(answered(outputs), questions, ORDER).refused
    assert "over the tolerance" in first and "NaN or infinity" in second


def test_few_images_say_nothing_of_accuracy() -> None:
    order = replace(ORDER, batches=(1, 1, 1))
    questions = questions_of(oracle(), BACKBONE, order, calls=16)
    judged = judged_on_device(answered(logits_of(questions)), questions, order)
    assert judged.accuracy == Absent("the engine was run on 16 of 600 images that judge, too few for an accuracy")
    assert judged.refused == ()


def test_without_data_noise_is_compared_and_no_accuracy_is_said() -> None:
    (trial,) = oracle().trials
    questions = questions_of(Oracle((replace(trial, origin="random input"),), None), BACKBONE, ORDER, calls=16)
    judged = judged_on_device(answered(trial.truth), questions, ORDER)
    assert isinstance(judged.parity, tuple)
    assert judged.parity[0].origin == "random input (outputs printed to 6 digits)"
    assert (judged.accuracy, judged.refused) == (Absent(NO_IMAGES), ())


def test_an_engine_that_was_not_run_is_judged_by_nothing() -> None:
    judged = judged_on_device(answered(None), questions_of(oracle(), BACKBONE, ORDER, calls=1), ORDER)
    assert judged.parity == Absent("the engine was not run: no GPU that it is for is here")
    assert judged.accuracy == Absent("the engine was not run on the validation set")
