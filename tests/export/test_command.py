"""The command: what it prints, and its exit codes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vlm_contract.manifest import ArtifactManifest
from vlm_export.__main__ import main

RUN = "tiny-digits-200-s0"


def files_in(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.rglob("model.onnx")}


def test_a_second_export_keeps_and_imports_neither_torch_nor_onnx(exported: Path) -> None:
    before = files_in(exported)
    heavy = ("torch", "onnx", "onnxruntime", "timm", "numpy")
    code = (
        "import sys\n"
        f"for name in {heavy!r}: sys.modules[name] = None\n"
        "from vlm_export.__main__ import main\n"
        f"sys.exit(main(['--workspace', {str(exported)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count(" kept ") == 2
    assert files_in(exported) == before


def test_another_card_is_exported_anew(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vlm_export import export

    made: list[list[str]] = []
    monkeypatch.setattr(
        export, "make_artifacts", lambda *arguments: made.append([job.precision for job in arguments[2]]) or {}
    )
    card = exported / "runs" / RUN / "checkpoint.json"
    card.write_text(card.read_text().replace('"mean":[0.2', '"mean":[0.25'))
    main(["--workspace", str(exported), "--quiet"])
    assert made == [["fp32", "fp16"]]


def test_the_summary_is_the_last_line(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--workspace", str(exported), "--precision", "fp16", "--json"]) == 0
    (artifact,) = json.loads(capsys.readouterr().out.splitlines()[-1])["artifacts"]
    assert artifact["artifact"] == f"{RUN}.onnx-fp16"
    assert artifact["kept"] is True
    assert artifact["refused"] == []
    assert artifact["top1_agreement_percent"] == pytest.approx(100, abs=2)


def refuse(exported: Path) -> ArtifactManifest:
    """Turn the FP16 artifact into one that a check refused."""
    from dataclasses import replace

    from vlm_contract.codec import read_record, write_record

    folder = exported / "artifacts" / f"{RUN}.onnx-fp16"
    manifest = replace(read_record(ArtifactManifest, folder / "manifest.json"), refused=("logits differ",), parity=())
    write_record(manifest, folder / "manifest.json")
    folder.rename(f"{folder}.refused")
    return manifest


def test_a_refused_artifact_exits_1_after_the_others_are_done(
    exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse(exported)
    assert main(["--workspace", str(exported), "--json"]) == 1
    printed = capsys.readouterr()
    assert [a["refused"] for a in json.loads(printed.out.splitlines()[-1])["artifacts"]] == [[], ["logits differ"]]
    assert " kept " in printed.out
    assert f"{RUN}.onnx-fp16 was refused: logits differ." in " ".join(printed.err.split())


def test_a_damaged_run_exits_2_and_the_others_are_exported(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = shutil.copytree(exported / "runs" / RUN, exported / "runs" / "another-digits-200-s0")
    (other / "checkpoint.json").write_text("{")
    assert main(["--workspace", str(exported)]) == 2
    printed = capsys.readouterr()
    assert printed.out.count(" kept ") == 2
    assert "another-digits-200-s0/checkpoint.json is damaged" in " ".join(printed.err.split())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--ckpt", "nowhere"], "nowhere does not exist"),
        (["--ckpt", "best.pt"], "best.pt cannot be read: No such file"),
        (["--model", "resnet50"], "model, classes and image size said together"),
        (["--sm", "75"], "are of engines"),
        (["--fmt", "trt", "--sm", "75"], "--flavor rtx"),
        (["--data", "digits"], "model, classes and image size said together"),
        (["--batch", "0"], "invalid"),
        (["--max-drop", "-1"], "invalid"),
        (["--precision", "fp23"], "Unknown precision 'fp23'"),
        (["--fmt", "onx"], "invalid choice: 'onx'"),
    ],
)
def test_a_wrong_request_exits_2_with_one_paragraph(words: list[str], says: str, finished: Path, capsys: Any) -> None:
    assert main(["--workspace", str(finished), *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert says in " ".join(printed.err.split())
    assert "Try: " in printed.err


@pytest.mark.parametrize("missing", ["onnx", "torch"])
def test_a_missing_library_names_the_extra(missing: str, finished: Path, monkeypatch: Any, capsys: Any) -> None:
    from importlib import metadata

    from vlm_export import export

    def version(name: str) -> str:
        if name == missing:
            raise metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(export, "version", version)
    assert main(["--workspace", str(finished)]) == 2
    assert f"{missing} is not installed" in capsys.readouterr().err


def test_nothing_but_the_table_is_printed(fresh: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--workspace", str(fresh)]) == 0
    printed = capfd.readouterr()
    assert printed.err == ""
    assert [line.split()[0] for line in printed.out.splitlines()[2:]] == [f"{RUN}.onnx-fp32", f"{RUN}.onnx-fp16"]
