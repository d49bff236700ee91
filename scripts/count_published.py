#!/usr/bin/env python3
"""Count what the models of the published rows ask of a device: estimates/data/published_costs.csv, made once.

Each network of published_latency.csv is built untrained at its row's image size, exported to ONNX as vlm-export does
it, and counted by the function that counts a user's own model. Needs the extra `export`, and some ten minutes.
"""

import argparse
import csv
import io
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from vlm_contract.files import write_whole
from vlm_profile.estimates.published import COSTS, COSTS_HEADER, published_rows
from vlm_profile.graph.costs import operations_of

if TYPE_CHECKING:
    import torch

OPSET = 18
SQUEEZED = ("mobilenetv1_025", "mobilenetv1_050")  # timm has no name for these widths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=COSTS, help="the file to write (default: the package's own)")
    wanted = sorted({(row.network, row.image_size) for row in published_rows()})
    out: Path = parser.parse_args().out
    rows: list[tuple[object, ...]] = [COSTS_HEADER]
    with tempfile.TemporaryDirectory() as folder:
        for network, size in wanted:
            began = time.perf_counter()
            rows += _counted(network, size, Path(folder) / "model.onnx")
            print(f"{network} at {size} px: {time.perf_counter() - began:.1f} s", flush=True)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_whole(out, text.getvalue())


def _counted(network: str, size: int, path: Path) -> list[tuple[object, ...]]:
    """The rows of one model; kernels that cost the same are one row with their number."""
    _export(_module(network, size), size, path)
    counted = Counter(operations_of(path))
    return [
        (network, size, number, each.kind, each.macs, each.reads, each.writes, each.weights)
        for each, number in counted.items()
    ]


def _module(network: str, size: int) -> "torch.nn.Module":
    """`torchvision/NAME`, else timm's name; RepVGG with its branches folded into one, as its row was timed."""
    import timm
    import torchvision
    from timm.models.efficientnet import _gen_mobilenet_v1
    from timm.utils import reparameterize_model

    source, _, name = network.rpartition("/")
    if source == "torchvision":
        options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
        return getattr(torchvision.models, name)(weights=None, **options)
    if name in SQUEEZED:
        return _gen_mobilenet_v1("mobilenetv1_100", int(name[-3:]) / 100)
    resizes = name.startswith(("vit", "deit", "swin"))
    module = timm.create_model(name, pretrained=False, **({"img_size": size} if resizes else {}))
    return reparameterize_model(module) if name.startswith("repvgg") else module


def _export(module: "torch.nn.Module", size: int, path: Path) -> None:
    import torch

    program = torch.onnx.export(
        module.eval(),
        (torch.zeros(2, 3, size, size),),
        dynamo=True,
        opset_version=OPSET,
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    assert program is not None
    program.save(path)


if __name__ == "__main__":
    main()
