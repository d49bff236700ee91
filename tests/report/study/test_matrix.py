"""A study file is checked before anything runs; what is wrong is named with its line and what was meant."""

from pathlib import Path

import pytest

from vlm_contract.errors import VlmError
from vlm_report.study.checks import DATASETS, check_options
from vlm_report.study.matrix import Matrix, dataset_name
from vlm_report.study.reading import matrix_from_file

WHOLE = """[study]
name = "edge"

[train]
models = ["resnet50", "vit_tiny"]
datasets = ["cifar10", "imagefolder:/photos/flowers@96"]
samples = [5000]
seeds = [0, 1]
floors = ["pixels"]
options = { epochs = 3 }

[[train.override]]
models = ["vit_tiny"]
options = { lr = 1e-4, compile = true }

[export]
precisions = ["fp32"]

[profile]
targets = ["host", "jetson"]
hosts = { jetson = "user@board" }

[constraints]
require = ["latency_ms_p99<=20"]
"""


def matrix(tmp_path: Path, text: str = WHOLE) -> Matrix:
    path = tmp_path / "study.toml"
    path.write_text(text)
    return matrix_from_file(path)


def test_what_is_left_out_has_its_usual_value(tmp_path: Path) -> None:
    found = matrix(tmp_path)
    assert found.export.formats == ("onnx",)
    assert found.profile.batches == (1, 8)
    assert found.cost.currency == ""


def test_an_override_adds_to_the_options_of_its_models_alone(tmp_path: Path) -> None:
    train = matrix(tmp_path).train
    assert train.options_of("resnet50") == {"epochs": 3}
    assert train.options_of("vit_tiny") == {"epochs": 3, "lr": 1e-4, "compile": True}


def test_a_study_may_only_train(tmp_path: Path) -> None:
    found = matrix(tmp_path, WHOLE.partition("[export]")[0])
    assert (found.export.formats, found.profile.targets) == ((), ())


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ('models = ["resnet50"', 'model = ["resnet50"', 5, "did you mean models?"),
        ("[constraints]", "[constraint]", 23, "did you mean constraints?"),
        ('"cifar10"', '"cifar-10"', 6, "did you mean cifar10?"),
        ('"cifar10"', '"imagefolder:"', 6, "is no data set"),
        ("samples = [5000]", "samples = [0]", 7, "expected 1 or more"),
        ("samples = [5000]", 'samples = ["many"]', 7, "expected a whole number"),
        ("samples = [5000]", "samples = 5000", 7, "expected a list"),
        ("seeds = [0, 1]", "seeds = [0, 0]", 8, "stands there twice"),
        ("seeds = [0, 1]", "seeds = [-1]", 8, "expected 0 to 4294967295"),
        ("seeds = [0, 1]", "seeds = []", 8, "expected one or more"),
        ('floors = ["pixels"]', 'floors = ["pixel"]', 9, "did you mean pixels?"),
        ("epochs = 3", "seed = 3", 10, "the study itself decides --seed"),
        ("epochs = 3", "Epochs = 3", 10, "no long option's name"),
        ("epochs = 3", "epochs = { a = 1 }", 10, "expected a list"),
        ('models = ["vit_tiny"]', 'models = ["vit_tin"]', 13, "did you mean vit_tiny?"),
        ("compile = true", "workspace = 'x'", 14, "the study itself decides --workspace"),
        ('precisions = ["fp32"]', 'precisions = ["fp23"]', 17, "did you mean fp32?"),
        ('"jetson"]', '"jetsen"]', 20, "jetson"),
        ('"jetson"]', '"jetson", "jetson-orin-nano"]', 20, "one target stands there twice"),
        ('{ jetson = "user', '{ jetso = "user', 21, "did you mean jetson?"),
        ("user@board", "-oProxyCommand=x", 21, "jetson"),
        ("latency_ms_p99<=20", "latency_p99<=20", 24, "latency_ms_p99"),
        ("[constraints]", "[cost]\nper_cpu_hour = -1\n[constraints]", 24, "expected 0 or more"),
        ('name = "edge"', 'name = "../edge"', 2, "cannot name a folder"),
        ('"resnet50", ', '"resnet50", "../up", ', 5, "is no name of a timm model"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, old: str, new: str, line: int, said: str) -> None:
    assert WHOLE.count(old) == 1
    with pytest.raises(VlmError) as caught:
        matrix(tmp_path, WHOLE.replace(old, new))
    assert f"study.toml, line {line}:" in str(caught.value)
    assert said in str(caught.value)


def test_what_is_no_toml_is_named_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(VlmError, match=r"is no TOML: .*line 2"):
        matrix(tmp_path, "[study]\nname = edge\n")


def test_profiling_needs_an_export(tmp_path: Path) -> None:
    with pytest.raises(VlmError, match=r"without a table \[export\]"):
        matrix(tmp_path, WHOLE.replace('[export]\nprecisions = ["fp32"]\n', ""))


def test_a_matrix_that_nobody_meant_is_refused(tmp_path: Path) -> None:
    seeds = ", ".join(map(str, range(2000)))
    with pytest.raises(VlmError, match="more than a study may have"):
        matrix(tmp_path, WHOLE.replace("seeds = [0, 1]", f"seeds = [{seeds}]"))


def test_two_folders_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VlmError, match="two folders have one name"):
        matrix(tmp_path, WHOLE.replace('"cifar10"', '"imagefolder:/other/flowers"'))


def test_an_option_that_the_command_does_not_have_is_named_with_the_nearest(tmp_path: Path) -> None:
    known = {"train": {"epochs", "lr"}, "export": set[str](), "profile": set[str]()}
    with pytest.raises(VlmError, match=r"train.override\[0\].options.compile: vlm-train has no option --compile"):
        check_options(matrix(tmp_path), known)


def test_a_folder_of_images_has_its_own_name() -> None:
    assert dataset_name("imagefolder:/photos/flowers@96") == "flowers"
    assert dataset_name("imagefolder:/photos/my flowers/") == "my_flowers"
    assert dataset_name("cifar10") == "cifar10"


def test_the_data_sets_are_those_of_vlm_train() -> None:
    from vlm_train.sources import names

    assert {*DATASETS, "imagefolder"} == set(names())


def test_a_limit_may_be_of_one_target_as_in_the_report(tmp_path: Path) -> None:
    found = matrix(tmp_path, WHOLE.replace("latency_ms_p99<=20", "jetson:latency_ms_p50<=20"))
    assert found.constraints.require == ("jetson:latency_ms_p50<=20",)


def test_a_limit_of_an_unknown_target_is_refused_with_its_field(tmp_path: Path) -> None:
    with pytest.raises(VlmError, match=r"constraints\.require\[0\].*jetsn"):
        matrix(tmp_path, WHOLE.replace("latency_ms_p99<=20", "jetsn:latency_ms_p50<=20"))
