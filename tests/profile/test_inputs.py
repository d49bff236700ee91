"""The inputs of any model: shapes resolved for a batch, arrays made from a seed."""

import numpy
import pytest

from vlm_contract.errors import VlmError
from vlm_contract.manifest import TensorSpec
from vlm_profile.inputs import fixed_batch, random_feeds, resolved

IMAGE = TensorSpec("image", ("n", 3, "h", "w"), "float32")


def tensor(*shape: int | str, name: str = "x", dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name, shape, dtype)


def shapes(*tensors: TensorSpec, batch: int = 8, **given: tuple[int, ...]) -> list[tuple[int | str, ...]]:
    return [each.shape for each in resolved(tensors, batch, given)]


def test_a_dynamic_first_dimension_is_the_batch() -> None:
    assert shapes(tensor("n", 3, 32, 32)) == [(8, 3, 32, 32)]
    assert shapes(tensor("?", 3, 32, 32)) == [(8, 3, 32, 32)]


def test_the_batchs_name_means_the_batch_wherever_it_stands() -> None:
    assert shapes(tensor("n", 4), tensor(1, "n", name="mask")) == [(8, 4), (1, 8)]


def test_a_fixed_batch_is_found() -> None:
    assert fixed_batch([tensor(1, 3, 32, 32)]) == 1
    assert fixed_batch([tensor("n", 3, 32, 32)]) is None
    assert fixed_batch([tensor()]) == 1


def test_given_shapes_fill_what_the_model_leaves_open_and_the_batch_stays_the_commands() -> None:
    assert shapes(IMAGE, image=(1, 3, 224, 160)) == [(8, 3, 224, 160)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"Dimension 2 \(h\) of input 'image' is unknown"),
        ({"image": (1, 3, 224)}, "gives 'image' 3 dimensions; the model has nx3xhxw"),
        ({"image": (1, 4, 224, 224)}, "gives dimension 1 of 'image' 4; the model fixes nx3xhxw"),
        ({"picture": (1, 3, 224, 224)}, "the model has no such input"),
    ],
)
def test_what_is_unknown_or_contradicts_the_model_is_named(given: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(VlmError, match=message) as caught:
        shapes(IMAGE, **given)
    assert "image" in caught.value.hint or given


def test_the_hint_for_an_unknown_dimension_can_be_typed() -> None:
    with pytest.raises(VlmError) as caught:
        shapes(IMAGE)
    assert caught.value.hint.startswith("--input-shape image:1x3x224x224")


def test_a_type_that_cannot_be_generated_is_named() -> None:
    with pytest.raises(VlmError, match="takes string"):
        shapes(tensor(1, dtype="string"))


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int64", "int32", "int8", "uint8", "bool"])
def test_arrays_have_the_models_type_and_shape_and_vary(dtype: str) -> None:
    first, second = random_feeds([tensor(2, 64, dtype=dtype)], count=2, seed=0)
    assert (first["x"].dtype, first["x"].shape) == (numpy.dtype(dtype), (2, 64))
    assert not numpy.array_equal(first["x"], second["x"])


def test_the_seed_decides_the_arrays() -> None:
    once, again, other = (random_feeds([tensor(2, 8)], 1, seed)[0]["x"] for seed in (0, 0, 1))
    assert numpy.array_equal(once, again)
    assert not numpy.array_equal(once, other)


def test_whole_numbers_that_may_be_indices_stay_within_two() -> None:
    (feed,) = random_feeds([tensor(500, dtype="int64")], 1, 0)
    assert set(feed["x"].tolist()) == {0, 1}
