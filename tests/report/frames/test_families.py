"""CNN against Transformer: which model is which, and when the records decide."""

from types import SimpleNamespace
from typing import Any

import pytest

from vlm_contract.codec import Absent
from vlm_report.frames import frames_of
from vlm_report.frames.backbones import family_of
from vlm_report.frames.families import chance_of, hypotheses
from vlm_report.frames.rows import rows_in

CNNS = ("resnet50", "mobilenetv3_large_100", "tf_efficientnetv2_s", "convnextv2_tiny")
TRANSFORMERS = ("vit_base_patch16_224", "deit_small_patch16_224", "swin_tiny_patch4_window7_224")


def families(double: SimpleNamespace, accuracies: dict[str, float], samples: int = 5000) -> list[dict[str, Any]]:
    cards = [double.trained(model, samples, validation=percent) for model, percent in accuracies.items()]
    return rows_in(frames_of(double.all(*cards))["families"])


@pytest.mark.parametrize("name", [*CNNS, "ConvNeXt-V2 Tiny", "ResNet50", "EfficientNetV2-S", "MobileNetV3"])
def test_convolutional_networks_are_known_by_either_name(name: str) -> None:
    assert family_of(name) == "CNN"


@pytest.mark.parametrize("name", [*TRANSFORMERS, "ViT-Base", "DeiT-Small", "Swin-Tiny"])
def test_transformers_are_known_by_either_name(name: str) -> None:
    assert family_of(name) == "Transformer"


def test_the_longest_beginning_decides() -> None:
    assert family_of("vitamin_base_224") == "hybrid"
    assert family_of("mobilevit_s") == "hybrid"
    assert isinstance(family_of("mixer_b16_224"), Absent)


def test_few_of_timms_models_are_of_no_family() -> None:
    timm = pytest.importorskip("timm")
    names = timm.list_models(exclude_filters=["test_*"])
    unknown = [name for name in names if isinstance(family_of(name), Absent)]
    assert len(unknown) < 0.1 * len(names), unknown


def test_chance_is_that_of_the_exact_test() -> None:
    assert chance_of([5, 6, 7, 8], [1, 2, 3]) == pytest.approx(1 / 35)
    assert chance_of([5, 6, 7, 2.5], [1, 2, 3]) == pytest.approx(2 / 35)
    assert chance_of([1.0], [1.0]) == 1.0


def test_seven_models_in_two_ranges_decide(double: SimpleNamespace) -> None:
    accuracies = {**dict.fromkeys(CNNS, 60.0), **dict.fromkeys(TRANSFORMERS, 40.0)}
    (row,) = families(double, accuracies)
    assert (row["ahead"], row["difference_points"]) == ("CNNs", 20.0)
    few, many = hypotheses([row])
    assert ": supported." in few.text and "CNNs reach 60.0 % on average (4)" in few.text
    assert ": undecided, for no such regime" in many.text and many.record == ""


def test_transformers_ahead_contradict_it(double: SimpleNamespace) -> None:
    (row,) = families(double, {**dict.fromkeys(CNNS, 40.0), **dict.fromkeys(TRANSFORMERS, 60.0)})
    assert ": not supported." in hypotheses([row])[0].text


def test_one_of_each_is_too_few_however_far_apart(double: SimpleNamespace) -> None:
    (row,) = families(double, {"resnet50": 99.0, "vit_base_patch16_224": 10.0})
    assert row["ahead"] == "undecided"
    assert row["why"] == "1 CNN and 1 Transformer are too few: chance alone would part them so in 50 % of cases"


def test_an_overlap_is_undecided_and_names_it(double: SimpleNamespace) -> None:
    accuracies = {
        **dict(zip(CNNS, (70, 68, 66, 30), strict=True)),
        **dict(zip(TRANSFORMERS, (50, 45, 40), strict=True)),
    }
    (row,) = families(double, accuracies)
    assert row["ahead"] == "undecided"
    assert "the best of the Transformers has 50.00 %, the least of the CNNs 30.00 %" in row["why"]


def test_many_samples_answer_the_other_hypothesis(double: SimpleNamespace) -> None:
    rows = families(double, {**dict.fromkeys(CNNS, 60.0), **dict.fromkeys(TRANSFORMERS, 40.0)}, samples=50_000)
    few, many = hypotheses(rows)
    assert "no such regime" in few.text
    assert many.text.startswith("Transformers catch up with 50,000 samples: not supported.")


def test_without_a_transformer_nothing_is_said_of_the_difference(double: SimpleNamespace) -> None:
    (row,) = families(double, {"resnet50": 60.0})
    assert row["transformer_accuracy_percent"] == Absent("no Transformer was trained here")
    assert isinstance(row["difference_points"], Absent)


def test_floors_are_in_no_family(double: SimpleNamespace) -> None:
    assert families(double, {"resnet9": 80.0, "pixels": 30.0}) == []


def test_pretrained_models_are_compared_among_themselves(double: SimpleNamespace) -> None:
    cards = [
        double.trained("resnet50"),
        double.trained("vit_base_patch16_224", hyperparameters={"weights": "timm"}),
    ]
    rows = rows_in(frames_of(double.all(*cards))["families"])
    assert [row["start"] for row in rows] == ["pretrained weights", "random weights"]
