"""Each rule says no to what cannot be right, and nothing to what can."""

from types import SimpleNamespace

import pytest

from vlm_contract.codec import Absent
from vlm_report.importing.checks import judged
from vlm_report.importing.documents import Cell

CASES = {
    "one image at a time": ({"latency_ms_p50": "10", "images_per_s": "100", "batch": "1"}, ()),
    "a batch": ({"latency_ms_p50": "10", "images_per_s": "800", "batch": "8"}, ()),
    "streams": ({"latency_ms_p50": "10", "images_per_s": "400", "batch": "1", "streams": "4"}, ()),
    "throughput at another batch": (
        {"latency_ms_p50": "10", "images_per_s": "900", "batch": "1", "throughput_batch": "32"},
        (),
    ),
    "a contradiction": ({"latency_ms_p50": "10", "images_per_s": "800", "batch": "1"}, ("little",)),
    "no batch": ({"latency_ms_p50": "9.89", "images_per_s": "1133.44"}, ("little",)),
    "no batch, and one image fits": ({"latency_ms_p50": "10", "images_per_s": "100"}, ("no_batch",)),
    "no batch of a latency alone": ({"latency_ms_p50": "10"}, ("no_batch",)),
    "an interval": ({"latency_ms_p50": "10", "latency_ms_p50_low": "9", "latency_ms_p99": "12", "batch": "1"}, ()),
    "an interval the wrong way": ({"latency_ms_p50": "10", "latency_ms_p50_low": "11", "batch": "1"}, ("order",)),
    "p99 under the median": ({"latency_ms_p50": "10", "latency_ms_p99": "9", "batch": "1"}, ("order",)),
    "a card": ({"device": "NVIDIA GeForce GTX 1660 Ti", "latency_ms_p50": "1", "batch": "1"}, ()),
    "a professional card": ({"device": "NVIDIA RTX 4000 Ada", "latency_ms_p50": "1", "batch": "1"}, ()),
    "its parameters": ({"model": "ResNet-50", "parameters": "25557032"}, ()),
    "another's parameters": ({"model": "ResNet-50", "parameters": "11689512"}, ("parameters",)),
    "an unknown network": ({"parameters": "3", "flops": "3"}, ()),
    "MACs": ({"model": "resnet50", "macs": "83431424"}, ()),
    "FLOPs": ({"model": "resnet50", "flops": "166862848"}, ()),
    "MACs called FLOPs": ({"model": "resnet50", "flops": "83431424"}, ("macs_as_flops",)),
    "FLOPs called MACs": ({"model": "resnet50", "macs": "166862848"}, ("flops_as_macs",)),
    "MACs of another size": ({"model": "resnet50", "macs": "83431424", "image_size": "224"}, ("operations",)),
    "MACs of a size that nobody counted": ({"model": "resnet50", "macs": "5", "image_size": "64"}, ()),
    "a loss": ({"validation_accuracy_percent": "51.59", "validation_loss": "1.4148"}, ()),
    "a loss at the least": ({"validation_accuracy_percent": "50", "validation_loss": "0.3466"}, ()),
    "a loss under what errors cost": ({"validation_accuracy_percent": "51.59", "validation_loss": "0.3"}, ("loss",)),
    "a training loss": ({"train_accuracy_percent": "0", "train_loss": "0.5"}, ("loss",)),
    "guessing": ({"data": "CIFAR-10", "validation_accuracy_percent": "9.8"}, ()),
    "worse than guessing": ({"data": "CIFAR-10", "validation_accuracy_percent": "0.5158"}, ("chance",)),
    "a hundred classes": ({"data": "CIFAR-100", "validation_accuracy_percent": "0.9"}, ()),
    "unknown data": ({"data": "double", "validation_accuracy_percent": "0.9"}, ()),
}


@pytest.mark.parametrize(("cells", "codes"), CASES.values(), ids=CASES)
def test_a_rule_sees_what_cannot_be_right_alone(
    importing: SimpleNamespace, cells: dict[str, str], codes: tuple[str, ...]
) -> None:
    told = judged(importing.row(**cells), "")
    assert tuple(finding.verdict.code for finding in told.findings) == codes


@pytest.mark.parametrize(
    ("device", "real"),
    [("NVIDIA GeForce RTX 1660 Ti", "GTX 1660 Ti"), ("GeForce RTX 1080", "GTX 1080"), ("GTX 3080", "RTX 3080")],
)
def test_a_card_that_nobody_made_spoils_speeds_and_no_accuracy(
    importing: SimpleNamespace, device: str, real: str
) -> None:
    told = judged(importing.row(device=device, latency_ms_p50="1", batch="1"), "")
    levels = {finding.records: finding.verdict.level for finding in told.findings}
    assert levels == {("speed",): "invalid", ("run",): "warning"}
    assert real in told.findings[0].verdict.limit


def test_the_hint_names_the_target_that_was_meant(importing: SimpleNamespace) -> None:
    told = judged(importing.row(device="RTX 1660 Ti", latency_ms_p50="1", batch="1"), "")
    assert "--target gtx1660ti" in told.findings[0].verdict.next_step


def test_a_count_stands_under_its_right_name_and_no_other(importing: SimpleNamespace) -> None:
    told = judged(importing.row(model="MobileNetV3", flops=Cell("0.007", "FLOPs (G)", 1e9)), "")
    assert told.number("macs") == 7_000_000
    assert isinstance(told.values["flops"], Absent)


def test_rounding_is_allowed_what_it_may_hide_and_no_more(importing: SimpleNamespace) -> None:
    codes = {
        text: [
            finding.verdict.code
            for finding in judged(importing.row(model="MobileNetV3", macs=Cell(text, "MACs (G)", 1e9)), "").findings
        ]
        for text in ("0.007", "0.0070", "0.0040")
    }
    assert codes == {"0.007": [], "0.0070": [], "0.0040": ["operations"]}


def test_a_name_that_two_networks_have_means_the_one_with_its_parameters(importing: SimpleNamespace) -> None:
    small = judged(importing.row(model="MobileNetV3", parameters="1528106", macs="2169792"), "")
    assert small.findings == ()
    mixed = judged(importing.row(model="MobileNetV3", parameters="1528106", macs="7087040"), "")
    assert [finding.verdict.code for finding in mixed.findings] == ["operations"]
