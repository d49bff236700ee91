#!/usr/bin/env python
"""Put real output between the markers of README and docs, so that no figure there is typed by hand.

scripts/fill_docs.py adaptations                       # parameters and MACs, counted now
scripts/fill_docs.py quickstart                        # what the quickstart's report says
scripts/compare_recipes.py | scripts/fill_docs.py recipes
vlm-train list --workspace DIR | scripts/fill_docs.py goals       # and floors
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SEVEN = (
    "mobilenetv3_large_100",
    "tf_efficientnetv2_s",
    "resnet50",
    "convnextv2_tiny",
    "vit_base_patch16_224",
    "deit_small_patch16_224",
    "swin_tiny_patch4_window7_224",
)
PRINTED = ("recipes", "goals", "floors")  # by another command, on standard input
ADAPTATIONS = ("stock", "small", "upsample:96")
QUICKSTART_COLUMNS = (
    "Model",
    "Precision",
    "Batch",
    "Latency p50 (ms)",
    "Throughput (img/s)",
    "Accuracy (%)",
    "Evidence",
)


def main() -> None:
    block = sys.argv[1] if len(sys.argv) == 2 else ""
    makers = {"adaptations": adaptations, "quickstart": quickstart, **dict.fromkeys(PRINTED, printed)}
    if block not in makers:
        sys.exit(__doc__)
    text = f"<!-- {block} -->\n{makers[block]()}\n<!-- /{block} -->"
    pages = [
        page for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")) if f"<!-- {block} -->" in page.read_text()
    ]
    for page in pages:
        page.write_text(
            re.sub(f"<!-- {block} -->.*<!-- /{block} -->", lambda _: text, page.read_text(), flags=re.DOTALL)
        )
        print(f"Filled {page.relative_to(ROOT)}")


def adaptations() -> str:
    """Parameters in millions and MACs in billions of the seven backbones, ten classes, 32 pixels."""
    from vlm_train.backbones import backbone_from_timm

    rows = []
    for name in SEVEN:
        cells = []
        for adapt in ADAPTATIONS:
            backbone = backbone_from_timm(name, tuple("0123456789"), 32, (0.5,) * 3, (0.25,) * 3, adapt=adapt)
            assert isinstance(backbone.macs, int)
            cells.append(f"{backbone.parameters / 1e6:.2f} M, {backbone.macs / 1e9:.4f} G")
        rows.append((name, *cells))
    return table(("model", *ADAPTATIONS), rows)


def quickstart() -> str:
    """The recommendation and the benchmark of workspace/report/report.md, in its main columns."""
    lines = (ROOT / "workspace" / "report" / "report.md").read_text().splitlines()
    pick = next(line for line in lines if line.startswith("**For this host"))
    first = next(number for number, line in enumerate(lines) if line.startswith("| Model"))
    grid = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[first:] if line.startswith("|")]
    places = [grid[0].index(column) for column in QUICKSTART_COLUMNS]
    end = next(number for number, row in enumerate(grid) if number and row[0] == "Model")
    rows = [tuple(row[place] for place in places) for row in grid[2:end]]
    return f"{pick}\n\n{table(QUICKSTART_COLUMNS, rows)}"


def printed() -> str:
    """The table on standard input, as it was printed."""
    return f"```text\n{sys.stdin.read().rstrip()}\n```"


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    rule = tuple("---" for _ in header)
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows))


if __name__ == "__main__":
    main()
