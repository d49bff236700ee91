"""What is said of networks is what they have."""

import pytest

from vlm_report.importing.models import KnownModel, known_models, models_called


def test_a_name_is_known_however_it_is_written() -> None:
    assert [model.timm for model in models_called("convnext v2-tiny")] == ["convnextv2_tiny"]
    assert [model.timm for model in models_called("resnet50")] == ["resnet50"]
    assert len(models_called("MobileNetV3")) == 2
    assert models_called("double-net") == ()


@pytest.mark.slow
@pytest.mark.parametrize("model", known_models(), ids=lambda model: model.timm)
def test_the_figures_of_known_models_are_those_of_timm(model: KnownModel) -> None:
    pytest.importorskip("timm")
    from vlm_train.backbones import backbone_from_timm

    for size in model.parameters:
        backbone = backbone_from_timm(model.timm, tuple("0123456789"), int(size), (0.5,) * 3, (0.5,) * 3)
        assert backbone.parameters == model.parameters[size] + 10 * (model.width + 1)
        assert backbone.macs == model.macs[size]
