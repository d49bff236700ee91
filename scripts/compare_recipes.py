#!/usr/bin/env python
"""Is the recipe `scratch` better than `reference` for the same CPU time? Means and deviations over seeds.

For each model and data set: `reference` is trained for --reference-epochs; two short runs of `scratch` tell what one
of its epochs costs and what the rest does; then `scratch` is trained, on every seed, for as many epochs as fit into
95 % of the CPU time that `reference` took on that seed. Every run is one of vlm-train's in a workspace of its own:
started again, this script keeps what is finished. CPU time is the card's: of the whole process, scoring included.

    scripts/compare_recipes.py --models resnet50 --data fashion-mnist --samples 5000 --seeds 0,1,2
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from vlm_contract.console import plain_table

SHARE = 0.95  # of the reference's CPU time is planned for: what an epoch costs is known to a few percent only


def main() -> None:
    options = parsed()
    rows = [row_of(options, model, data) for data in options.data.split(",") for model in options.models.split(",")]
    header = (
        "data",
        "model",
        "epochs",
        "reference test %",
        "scratch test %",
        "difference",
        "CPU time, scratch/reference",
    )
    print(plain_table(header, rows))


def row_of(options: argparse.Namespace, model: str, data: str) -> tuple[str, ...]:
    """One line of the comparison."""
    per_epoch, rest = costs(options, model, data)
    pairs = []
    for seed in options.seeds.split(","):
        reference = run(options, model, data, "reference", options.reference_epochs, seed)
        epochs = max(1, int((SHARE * reference["effort"]["cpu_s"] - rest) / per_epoch))
        pairs.append((reference, run(options, model, data, "scratch", epochs, seed)))
    ours, theirs = ([pair[side]["test_accuracy_percent"] for pair in pairs] for side in (1, 0))
    ratios = [scratch["effort"]["cpu_s"] / reference["effort"]["cpu_s"] for reference, scratch in pairs]
    trained = sorted({scratch["last"]["epoch"] for _, scratch in pairs})
    return (
        data.rpartition("/")[2],
        model,
        f"{options.reference_epochs} and {'–'.join(str(epochs) for epochs in {trained[0]: 0, trained[-1]: 0})}",
        spread(theirs),
        spread(ours),
        f"{fmean(ours) - fmean(theirs):+.2f}",
        f"{min(ratios):.2f}–{max(ratios):.2f}",
    )


def costs(options: argparse.Namespace, model: str, data: str) -> tuple[float, float]:
    """CPU seconds of one epoch of `scratch`, and of all that is done once."""
    one, two = (run(options, model, data, "scratch", epochs, "0", probe=True)["effort"]["cpu_s"] for epochs in (1, 2))
    return max(two - one, 1e-3), max(2 * one - two, 0.0)


def run(
    options: argparse.Namespace, model: str, data: str, recipe: str, epochs: int, seed: str, *, probe: bool = False
) -> dict[str, Any]:
    """The summary of one run of vlm-train, kept where it is finished."""
    name = f"{model}-{data.rpartition('/')[2]}-{options.samples}-{recipe}-e{epochs}-s{seed}" + "-probe" * probe
    words = ["--model", model, "--data", data, "--samples", str(options.samples), "--recipe", recipe]
    words += ["--epochs", str(epochs), "--seed", seed, "--threads", str(options.threads), "--name", name]
    words += ["--precision", options.precision]
    where = ["--workspace", str(options.workspace), "--resume", "--quiet", "--json"]
    done = subprocess.run([sys.executable, "-m", "vlm_train", *words, *where], stdout=subprocess.PIPE, check=True)
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])["runs"][-1]
    accuracy, seconds = summary["test_accuracy_percent"], summary["effort"]["cpu_s"]
    print(f"{name}: {accuracy:.2f} % in {seconds:.0f} s of CPU time", file=sys.stderr)
    return summary


def spread(values: list[float]) -> str:
    return f"{fmean(values):.2f} ± {stdev(values):.2f}" if len(values) > 1 else f"{values[0]:.2f}"


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="mobilenetv3_large_100,resnet50,deit_small_patch16_224")
    parser.add_argument("--data", default="fashion-mnist", help="data sets, with commas between them")
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--reference-epochs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", default="auto", help="of the steps of both; auto may choose anew for each run")
    parser.add_argument("--workspace", type=Path, default=Path("workspace-recipes"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
