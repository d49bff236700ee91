"""What the command takes, what it flags, and what it leaves as it was."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from vlm_contract.codec import Absent, known
from vlm_contract.measurement import Latency, Measurement
from vlm_contract.workspace import Workspace
from vlm_report.importing import storing

Command = Callable[..., int]
HEADER = "model,batch,latency_ms_p50,images_per_s"


def files_of(workspace: Workspace) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in workspace.root.glob("reported/*/*/*.json")}


def measured(workspace: Workspace) -> dict[str, Measurement]:
    found = workspace.measurements()
    assert not found.problems
    return {record.artifact.name: record for record in found.records.values()}


def test_the_example_gives_its_seven_rows_and_each_of_its_impossible_figures_is_flagged(
    workspace: Workspace, command: Command, importing: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(importing.example) == 1
    records = measured(workspace)
    assert set(records) == {"MobileNetV3", "EfficientNetV2-S", "ResNet50", "ConvNeXt-V2 Tiny"}
    for record in records.values():
        assert {verdict.code for verdict in record.verdicts} == {"zero_memory", "hardware", "little"}
        assert (record.evidence, record.status) == ("reported", "invalid")
    runs = {run.model: run for run in workspace.reported_runs().records.values()}
    assert {model: run.status for model, run in runs.items()} == {
        "ConvNeXt-V2 Tiny": "valid",
        "MobileNetV3": "valid",
        "ResNet50": "invalid",
    }
    out, err = capsys.readouterr()
    assert "9.89 ms beside 1133.44 img/s" in out
    assert "101 img/s" in out
    assert "11.2 images at a time" in out
    assert "15 rows hold no figure" in err


def test_figures_that_are_none_are_absent_and_say_what_the_document_says(
    workspace: Workspace, command: Command, importing: SimpleNamespace
) -> None:
    command(importing.example)
    mobilenet = measured(workspace)["MobileNetV3"]
    peak = mobilenet.memory.peak_rss_bytes
    assert isinstance(peak, Absent)
    assert "the document says 0.0" in peak.reason
    assert mobilenet.memory.by_source == {}
    (resnet,) = (run for run in workspace.reported_runs().records.values() if run.model == "ResNet50")
    assert isinstance(resnet.validation_loss, Absent)
    assert "NaN" in resnet.validation_loss.reason
    assert resnet.validation_accuracy_percent == 67.19


def test_a_reported_record_says_where_it_stands_and_what_the_document_leaves_out(
    workspace: Workspace, command: Command, importing: SimpleNamespace
) -> None:
    command(importing.example)
    record = measured(workspace)["ConvNeXt-V2 Tiny"]
    assert known(record.origin).startswith("experimental_results.md, Benchmark Results, row 4 (sha256 ")
    assert record.device.name == "NVIDIA GeForce RTX 1660 Ti"
    assert (record.runtime.name, record.runtime.version) == ("PyTorch", "2.5.1+cu121")
    assert record.measured_utc == "2025-11-27"
    assert record.target == "nvidia_geforce_rtx_1660_ti"
    for value in (record.setup.batch, record.artifact.sha256, record.artifact.bytes, record.device.gpu):
        assert isinstance(value, Absent)
    assert isinstance(record.latency, Latency)
    assert record.latency.latency_ms_p50 == 22.51


def test_a_run_carries_what_stands_around_its_table(
    workspace: Workspace, command: Command, importing: SimpleNamespace
) -> None:
    command(importing.example)
    (run,) = (run for run in workspace.reported_runs().records.values() if run.model == "ConvNeXt-V2 Tiny")
    assert (run.timm, run.data, run.samples, run.epochs) == ("convnextv2_tiny", "CIFAR-10", 5000, 100)
    assert (run.train_accuracy_percent, run.validation_accuracy_percent) == (99.52, 51.58)
    assert (run.wall_s, run.approximate) == (3000.0, ("wall_s",))
    assert run.hyperparameters == {
        "batch_size": 128,
        "learning_rate": 0.001,
        "optimizer": "AdamW",
        "epochs": 100,
        "weight_decay": 0.05,
    }
    assert run.notes == "Heavy overfitting"


def test_macs_called_flops_are_kept_as_macs(workspace: Workspace, command: Command, importing: SimpleNamespace) -> None:
    command(importing.example)
    (model,) = (each for each in workspace.reported_models().records.values() if each.model == "ResNet50")
    assert (model.parameters, model.macs) == (23_530_000, 84_000_000)
    assert isinstance(model.flops, Absent)
    assert [verdict.code for verdict in model.verdicts] == ["macs_as_flops"]
    assert model.status == "valid"


def test_the_csv_of_the_examples_passes_every_rule(
    workspace: Workspace, command: Command, importing: SimpleNamespace
) -> None:
    assert command(importing.csv) == 0
    record = measured(workspace)["ResNet50"]
    assert (record.target, record.status, record.verdicts) == ("gtx1660ti", "valid", ())
    assert (record.setup.batch, record.setup.streams) == (1, 1)
    assert isinstance(record.memory.peak_rss_bytes, Absent)
    assert list(record.memory.by_source.values()) == [100_000_000]


def test_a_user_who_names_the_device_is_believed_and_the_document_is_doubted(
    workspace: Workspace, command: Command, importing: SimpleNamespace
) -> None:
    command(importing.example, "--target", "gtx1660ti")
    record = measured(workspace)["ResNet50"]
    assert record.target == "gtx1660ti"
    assert {verdict.code: verdict.level for verdict in record.verdicts}["hardware"] == "warning"


def test_the_same_document_again_changes_no_byte(
    workspace: Workspace, command: Command, importing: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    command(importing.example)
    before = files_of(workspace)
    command(importing.example)
    assert before and files_of(workspace) == before
    assert "(11 as before)" in capsys.readouterr().out


def test_a_changed_document_replaces_its_own_records_alone(
    workspace: Workspace, command: Command, importing: SimpleNamespace, tmp_path: Path
) -> None:
    command(importing.csv)
    others = files_of(workspace)
    document = tmp_path / "mine.csv"
    document.write_text(f"{HEADER}\none,1,10,100\ntwo,1,10,100\n")
    command(document)
    document.write_text(f"{HEADER}\ntwo,1,20,50\n")
    assert command(document) == 0
    assert {name for name in measured(workspace) if name in ("one", "two")} == {"two"}
    assert others.items() <= files_of(workspace).items()


def test_an_import_that_ends_midway_leaves_what_was_there(
    workspace: Workspace, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = tmp_path / "mine.csv"
    document.write_text(f"{HEADER}\none,1,10,100\n")
    command(document)
    before = files_of(workspace)

    def full_disk(path: Path, data: bytes) -> None:
        if path.stem == "two":
            raise OSError("no space is left: a double")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    monkeypatch.setattr(storing, "write_whole", full_disk)
    document.write_text(f"{HEADER}\none,1,20,50\ntwo,1,20,50\n")
    with pytest.raises(OSError, match="a double"):
        command(document)
    assert files_of(workspace) == before


def test_what_a_kill_between_two_renames_put_away_comes_back(
    workspace: Workspace, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = tmp_path / "mine.csv"
    document.write_text(f"{HEADER}\none,1,10,100\n")
    command(document)
    before, final = files_of(workspace), workspace.reported / "mine.csv"
    (workspace.reported / storing.DRAFTS).mkdir(exist_ok=True)
    final.rename(workspace.reported / storing.DRAFTS / "mine.csv.old")
    command(document)
    assert files_of(workspace) == before
    assert "(1 as before)" in capsys.readouterr().out


def test_documents_whose_names_are_alike_have_folders_of_their_own() -> None:
    names = ("a b.csv", "a_b.csv", "a/b.csv", "../../b.csv", "." * 3)
    folders = {storing.folder_of(name) for name in names}
    assert len(folders) == len(names)
    assert not any("/" in folder or folder.startswith(".") for folder in folders)


def test_rows_of_one_model_have_files_of_their_own(workspace: Workspace, command: Command, tmp_path: Path) -> None:
    document = tmp_path / "mine.csv"
    document.write_text(f"{HEADER}\na.2,1,10,100\na,1,10,100\na,8,10,800\nA,4,10,400\n")
    assert command(document) == 0
    assert len(workspace.measurements().records) == 4


def test_hostile_names_stay_in_the_folder_and_move_no_cursor(
    workspace: Workspace, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = tmp_path / "mine.csv"
    document.write_text(f'{HEADER},device\n../../../x\x1b[2J,1,10,100,"../../y\x1b[2J"\n')
    command(document)
    (path,) = workspace.measurements().records
    assert path.parent == workspace.reported / "mine.csv" / "measurements"
    assert "\x1b" not in "".join(capsys.readouterr())


def test_the_template_is_a_header_that_the_command_reads(
    workspace: Workspace, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--template") == 0
    header = capsys.readouterr().out.strip()
    values = {"model": "double-net", "batch": "1", "latency_ms_p50": "10"}
    document = tmp_path / "mine.csv"
    document.write_text(f"{header}\n{','.join(values.get(name, '') for name in header.split(','))}\n")
    assert command(document) == 0


def test_the_document_of_json_names_each_row_with_its_verdicts(
    command: Command, importing: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    command(importing.example, "--json", "--quiet")
    document = json.loads(capsys.readouterr().out)
    assert [row["refused"] for row in document["rows"]] == [True] * 4 + [False] * 2 + [True]
    assert document["rows"][6]["verdicts"][0]["code"] == "nonfinite"


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.csv", b"\x89PNG\r\n", "a PNG image"),
        ("a.md", b"<!DOCTYPE html><p>no", "an HTML page"),
        ("a.csv", b"model\0", "a binary file"),
        ("a.csv", b"mod\xffel", "no text in UTF-8: byte 3"),
        ("a.csv", b"", "is empty"),
        ("a.csv", b"x" * (5 << 20), "over the limit"),
        ("a.txt", b"model", "neither .csv nor .md"),
        ("a.csv", b"model,latency_ms\n", "call it latency_ms_p50"),
        ("a.csv", b"model;batch\n", "separate the columns by commas"),
        ("a.csv", b"batch,batch\n", "has the column 'batch' twice"),
        ("a.csv", b"batch,latency_ms_p50\n1,10\n", "no column 'model'"),
        ("a.csv", b"model,batch\nx,1\n", "no row with a figure"),
        ("a.csv", b"model,batch,latency_ms_p50\nx,1\n", "Line 2 of"),
        ("a.csv", b"model,latency_ms_p50\n,10\n", "names no model"),
        ("a.csv", b'model,latency_ms_p50\n"x,10\n', "is no CSV"),
        ("a.csv", b"model,latency_ms_p50\n" + b"x" * 2000 + b",10\n", "over 1000 characters"),
        ("a.md", b"# Nothing\n\n| a | b |\n|---|---|\n| 1 | 2 |\n", "holds no table with models and figures"),
    ],
)
def test_a_file_that_is_something_else_is_refused_in_a_paragraph(
    workspace: Workspace,
    command: Command,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    data: bytes,
    said: str,
) -> None:
    (tmp_path / name).write_bytes(data)
    assert command(tmp_path / name) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not workspace.root.exists()


def test_a_file_that_is_not_there_and_a_target_that_is_none_are_named(
    command: Command, importing: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("nowhere.csv") == 2
    assert command(importing.csv, "--target", "gtx1660") == 2
    assert command() == 2
    err = capsys.readouterr().err
    assert "nowhere.csv cannot be read" in err
    assert "--target gtx1660ti" in err
    assert "No document is named" in err
