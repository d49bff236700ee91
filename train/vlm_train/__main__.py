"""The command `vlm-train`: parse, train or keep, print."""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vlm_contract.codec import encode
from vlm_contract.console import LiveLine, Outcome, Parser, plain_table, run_command, time_left
from vlm_contract.workspace import WEIGHTS_FILE, Workspace
from vlm_train.recipe import Recipe

if TYPE_CHECKING:
    from vlm_train.train import Request, Trained

DESCRIPTION = "Train a timm backbone on a small data set: a checkpoint, its card and its history."


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(_parser(), _main, arguments)


def _main(options: argparse.Namespace) -> Outcome:
    from vlm_train.train import train_model

    line = LiveLine(quiet=options.quiet)
    try:
        trained = train_model(
            _request(options),
            Workspace(options.workspace),
            resume=options.resume,
            overwrite=options.overwrite,
            threads=options.threads,
            show=line.show,
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt("The same command with --resume continues.") from None
    finally:
        line.clear()
    if not options.quiet:
        print(_table(trained))
        print(f"\n{'Kept' if trained.kept else 'Wrote'} {trained.folder}")
    return Outcome(_summary(trained))


def _parser() -> Parser:
    recipe = Recipe()
    parser = Parser("vlm-train", DESCRIPTION)
    parser.add_argument("--model", default="mobilenetv3_large_100", help="timm model name (default: %(default)s)")
    parser.add_argument("--data", default="digits", help="data set (default: %(default)s)")
    parser.add_argument("--samples", type=int, metavar="N", help="images to train on (default: all)")
    parser.add_argument("--epochs", type=int, default=recipe.epochs, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=recipe.batch_size, metavar="N", help="(default: %(default)s)")
    parser.add_argument(
        "--lr",
        type=float,
        default=recipe.learning_rate,
        metavar="RATE",
        help="highest rate (default: %(default)s)",
    )
    parser.add_argument(
        "--weight-decay", type=float, default=recipe.weight_decay, metavar="X", help="(default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of split, weights and order (default: %(default)s)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all that may be used)")
    parser.add_argument("--name", default="", help="of the run (default: <model>-<data>-<samples>-s<seed>)")
    parser.add_argument("--resume", action="store_true", help="continue the run if it was cut off")
    parser.add_argument("--overwrite", action="store_true", help="train anew, whatever is there")
    return parser


def _request(options: argparse.Namespace) -> "Request":
    from vlm_train.train import Request

    recipe = Recipe(
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.lr,
        weight_decay=options.weight_decay,
    )
    return Request(options.model, options.data, options.samples, options.seed, recipe, options.name)


def _table(trained: "Trained") -> str:
    card, best, backbone = trained.card, trained.card.best, trained.card.backbone
    test = card.test_accuracy_percent
    figures = [
        (
            "validation accuracy",
            f"{best.validation_accuracy_percent:.2f} %",
            f"epoch {best.epoch}/{card.last.epoch}",
        ),
        ("test accuracy", f"{test:.2f} %" if isinstance(test, float) else "—", f"{card.data.test_samples} images"),
        ("train accuracy", f"{best.train_accuracy_percent:.2f} %", f"{card.data.samples} images"),
        ("parameters", f"{backbone.parameters / 1e6:.2f} M", ""),
        ("MACs", f"{backbone.macs / 1e9:.4f} G" if isinstance(backbone.macs, int) else "—", "of one image"),
        ("time", time_left(card.wall_s), f"{card.images_per_s:.0f} images/s on {card.device}"),
    ]
    return plain_table((card.run, "", ""), figures)


def _summary(trained: "Trained") -> dict[str, Any]:
    card = trained.card
    return {
        "run": card.run,
        "folder": str(trained.folder),
        "weights": str(trained.folder / WEIGHTS_FILE),
        "kept": trained.kept,
        "best": encode(card.best),
        "last": encode(card.last),
        "test_accuracy_percent": encode(card.test_accuracy_percent),
        "wall_s": card.wall_s,
        "images_per_s": card.images_per_s,
        "weights_sha256": card.weights_sha256,
    }


if __name__ == "__main__":
    sys.exit(main())
