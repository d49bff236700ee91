"""Doubles of vlm-train, vlm-export, vlm-profile and vlm-report, and vlm-study with these in their place.

A double trains, exports and measures nothing: it notes that it was called, waits or fails as the file `double.json` in
the workspace tells it, and leaves files under the names that the real command would use.

    python doubles.py train --name=… --workspace=… --json        a double
    python doubles.py study run STUDY.toml --workspace …         the real vlm-study, whose commands are doubles
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

OPTIONS = "--epochs --batch-size --threads --quick --lr --max-drop"


def double(stage: str, words: list[str]) -> int:
    if "--help" in words:
        print(OPTIONS)
        return 0
    options = dict(word.lstrip("-").partition("=")[::2] for word in words)
    artifacts = [Path(word.partition("=")[2]) for word in words if word.startswith("--artifact=")]
    workspace = Path(options["workspace"])
    name = options.get("name") or options.get("ckpt") or options.get("target", "report")
    with open(workspace / "calls.txt", "a") as calls:
        calls.write(f"{stage} {name} {' '.join(words)}\n")
    code = behave(stage, name, json.loads((workspace / "double.json").read_text()))
    print(json.dumps({"train": trained, "export": exported, "profile": profiled, "report": reported}[stage](
        workspace, name, artifacts, code
    )))  # fmt: skip
    return code


def behave(stage: str, name: str, how: dict[str, Any]) -> int:
    """`{"train resnet": "fail"}`: what a step does whose words begin so."""
    for words, what in how.items():
        if f"{stage} {name}".startswith(words):
            if what == "fail":
                print(f"vlm-{stage}: the double fails, as it was told to.\nTry: another double", file=sys.stderr)
                sys.exit(2)
            if what == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if what == "say no":
                return 1
            print("epoch 1/2  a double waits", file=sys.stderr, flush=True)
            time.sleep(float(what))
    return 0


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def trained(workspace: Path, name: str, _: list[Path], code: int) -> dict[str, Any]:
    folder = workspace / "runs" / name
    write(folder / "checkpoint.json", f"a double's card of {name}")
    write(folder / "model.safetensors", "a double's weights")
    return {"runs": [{"folder": str(folder)}]}


def exported(workspace: Path, name: str, _: list[Path], code: int) -> dict[str, Any]:
    made = []
    for precision in ("fp32", "fp16"):
        refused = ["the double refuses it"] if code and precision == "fp16" else []
        artifact = f"{name}.onnx-{precision}"
        manifest = {**json.loads((workspace / "manifest.json").read_text()), "artifact": artifact, "refused": refused}
        folder = workspace / "artifacts" / f"{artifact}{'.refused' * bool(refused)}"
        write(folder / "manifest.json", json.dumps(manifest))
        made.append({"artifact": artifact, "folder": str(folder), "refused": refused})
    return {"artifacts": made}


def profiled(workspace: Path, name: str, artifacts: list[Path], code: int) -> dict[str, Any]:
    status = "invalid" if code else "valid"
    paths = [workspace / "measurements" / name / f"{artifact.name}.json" for artifact in artifacts]
    for path in paths:
        if not path.exists() or "--again" in sys.argv:
            write(path, f"a double's {status}")
    return {"measurements": [{"file": str(path), "status": status} for path in paths]}


def reported(workspace: Path, name: str, _: list[Path], code: int) -> dict[str, Any]:
    rows = sorted(path.name for path in workspace.glob("measurements/*/*.json"))
    return {"files": [str(write(workspace / "report" / "report.md", f"a double's report of {rows}"))]}


def study(words: list[str]) -> int:
    from vlm_report.study import __main__ as command
    from vlm_report.study.steps import STAGES

    command.COMMANDS = {stage: (sys.executable, __file__, stage) for stage in STAGES}
    return command.main(words)


if __name__ == "__main__":
    stage, *words = sys.argv[1:]
    sys.exit(study(words) if stage == "study" else double(stage, words))
