"""The command `vlm-train`: parse, train or keep, print; `list` and `plot` show what was trained."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vlm_contract.codec import encode
from vlm_contract.console import LiveLine, Outcome, Parser, plain_table, printable, run_command, time_left
from vlm_contract.errors import VlmError
from vlm_contract.floors import FLOORS
from vlm_contract.workspace import WEIGHTS_FILE, Workspace

if TYPE_CHECKING:
    from vlm_contract.card import Scalar
    from vlm_train.train import Request, Trained

DESCRIPTION = "Train a timm backbone on a small data set: a checkpoint, its card and its history."
MORE = "vlm-train list shows the runs of the workspace; vlm-train plot draws their curves."


def main(arguments: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["list"]:
        return run_command(Parser("vlm-train list", "The runs of the workspace, as a table."), _list, words[1:])
    if words[:1] == ["plot"]:
        return run_command(_plot_parser(), _plot, words[1:])
    return run_command(_parser(), _main, words)


def _main(options: argparse.Namespace) -> Outcome:
    """Train the floors where they are asked for, then the model once for each seed."""
    from vlm_train.listing import seeds_table

    if options.name and len(options.seeds) > 1:
        raise VlmError("--name names one run, and each seed is a run of its own.", hint="leave --name out")
    if os.environ.get("RANK", "0") != "0":  # of torchrun's processes one speaks
        options.quiet, options.json = True, False
    requests = [_request(options, seed) for seed in options.seeds]
    floors = [_train(options, _floor(options, floor)) for floor in FLOORS if options.floors]
    trained = [_train(options, request) for request in requests]
    if len(trained) > 1 and not options.quiet:
        print(seeds_table([each.card for each in trained], Workspace(options.workspace)))
    return Outcome({"runs": [_summary(each) for each in (*floors, *trained)]})


def _train(options: argparse.Namespace, request: "Request") -> "Trained":
    from vlm_train.listing import floors_table
    from vlm_train.train import train_model

    workspace, line = Workspace(options.workspace), LiveLine(quiet=options.quiet)
    try:
        trained = train_model(
            request,
            workspace,
            resume=options.resume,
            overwrite=options.overwrite,
            threads=options.threads,
            show=line.show,
            tell=lambda text: None if options.quiet else print(printable(text), file=sys.stderr),
        )
    except KeyboardInterrupt:
        instead = " in place of --overwrite" if options.overwrite else ""
        raise KeyboardInterrupt(f"The same command with --resume{instead} continues.") from None
    finally:
        line.clear()
    if not options.quiet:
        print(f"{_table(trained)}\n\n{floors_table(trained.card, workspace)}")
        print(f"\n{'Kept' if trained.kept else 'Wrote'} {trained.folder}\n")
    return trained


def _parser() -> Parser:
    parser = Parser("vlm-train", DESCRIPTION, epilog=MORE)
    what = parser.add_argument_group("what to train")
    what.add_argument("--model", default="mobilenetv3_large_100", help="timm model name (default: %(default)s)")
    what.add_argument(
        "--data",
        default="digits",
        help="digits, fashion-mnist, cifar10, cifar100 or imagefolder:PATH[@PIXELS] (default: %(default)s)",
    )
    what.add_argument("--samples", type=int, metavar="N", help="labelled images to use, validation included (all)")
    what.add_argument("--image-size", type=int, metavar="N", help="pixels, of an image folder (as its images are)")
    what.add_argument("--adapt", help="how the model meets small images: stock, small or upsample:N (the recipe's)")
    what.add_argument("--weights", default="random", metavar="FILE", help="first weights: random, timm, or a file")
    what.add_argument("--floors", action="store_true", help="train what any model must beat first: pixels and resnet9")
    what.add_argument("--seed", dest="seeds", type=_seeds, default=(0,), metavar="N", help="of split, weights, order")
    what.add_argument("--seeds", type=_seeds, metavar="N,N", help="one run for each; their mean and deviation")
    what.add_argument("--name", default="", help="of the run (default: it says what it is)")
    how = parser.add_argument_group("how; what is not given is the recipe's")
    how.add_argument("--recipe", default="scratch", help="scratch, reference, finetune or probe (default: %(default)s)")
    for option, kind, metavar, text in _SETTINGS:
        how.add_argument(option, type=kind, metavar=metavar, help=text)
    how.add_argument(
        "--precision", default="auto", help="of the steps: auto, fp32, bf16 or fp16 (default: %(default)s)"
    )
    how.add_argument("--compile", action="store_true", help="by torch.compile")
    run = parser.add_argument_group("the run")
    run.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all that may be used)")
    run.add_argument("--log", type=_words, default=(), metavar="L,L", help="tensorboard, mlflow")
    again = run.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="continue the run if it was cut off")
    again.add_argument("--overwrite", action="store_true", help="train anew, whatever is there")
    return parser


def _words(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text.split(",")))


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(dict.fromkeys(int(word) for word in text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of seeds; expected whole numbers: 0,1,2") from None


_SETTINGS: tuple[tuple[str, Any, str, str], ...] = (
    ("--epochs", int, "N", "rounds over the training images"),
    ("--batch-size", int, "N", "images in a step, at least"),
    ("--lr", float, "RATE", "highest learning rate"),
    ("--schedule", str, "NAME", "of the rate: cosine or constant"),
    ("--warmup-epochs", int, "N", "in which the rate rises"),
    ("--weight-decay", float, "X", "of weights"),
    ("--shift-pixels", int, "N", "an image is moved by up to so many"),
    ("--flip", int, "0|1", "mirror one image in two"),
    ("--policy", str, "NAME", "none, trivial or rand: TrivialAugment or RandAugment"),
    ("--erase", float, "SHARE", "of images of which a box is erased"),
    ("--mix", str, "NAME", "none, mixup, cutmix or both"),
    ("--mix-alpha", float, "X", "of mixup and cutmix"),
    ("--label-smoothing", float, "X", "0 to 0.99"),
    ("--clip-norm", float, "X", "greatest norm of the gradients; 0: any"),
    ("--ema", float, "DECAY", "of averaged weights; 0: none"),
    ("--patience", int, "N", "epochs without a better one that end the run; 0: none do"),
)


def _request(options: argparse.Namespace, seed: int) -> "Request":
    from vlm_train.recipe import recipe_named
    from vlm_train.train import Request

    names = (option.lstrip("-").replace("-", "_") for option, *_ in _SETTINGS)
    given: dict[str, Scalar | None] = {name: getattr(options, name) for name in names}
    given |= {"adapt": options.adapt, "learning_rate": given.pop("lr")}
    given["flip"] = None if options.flip is None else bool(options.flip)
    return Request(
        model=options.model,
        data=options.data,
        samples=options.samples,
        seed=seed,
        recipe=recipe_named(options.recipe, options.model, options.data, **given),
        image_size=options.image_size,
        weights=options.weights,
        precision=options.precision,
        compiled=options.compile,
        logs=options.log,
        name=options.name,
    )


def _floor(options: argparse.Namespace, floor: str) -> "Request":
    """On the data of the first seed, by its own recipe."""
    from vlm_train.recipe import DEFAULT, recipe_named
    from vlm_train.train import Request

    recipe = recipe_named(DEFAULT, floor, options.data)
    return Request(floor, options.data, options.samples, options.seeds[0], recipe, options.image_size)


def _table(trained: "Trained") -> str:
    card, best, backbone, effort = trained.card, trained.card.best, trained.card.backbone, trained.card.effort
    test = card.test_accuracy_percent
    figures = [
        (
            "validation accuracy",
            f"{best.validation_accuracy_percent:.2f} %",
            f"{card.data.validation_samples} images, which chose epoch {best.epoch} of {card.last.epoch}",
        ),
        (
            "test accuracy",
            f"{test:.2f} %" if isinstance(test, float) else "—",
            f"{card.data.test_samples} images, scored once: {card.data.test_origin}",
        ),
        (
            "train accuracy",
            f"{best.train_accuracy_percent:.2f} %",
            f"{card.data.train_samples} images, not augmented",
        ),
        ("parameters", f"{backbone.parameters / 1e6:.2f} M", ""),
        ("MACs", f"{backbone.macs / 1e9:.4f} G" if isinstance(backbone.macs, int) else "—", "of one image"),
        ("time", time_left(effort.wall_s), f"{effort.images_per_s:.0f} images/s on {card.device}"),
    ]
    if card.data.damaged:
        figures.append(("damaged files", str(card.data.damaged), "left out"))
    how = (f"Started from {card.start}; recipe {card.recipe}.", f"Steps in {card.precision}.")
    return "\n".join((plain_table((card.run, "", ""), figures), "", *map(printable, how)))


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
        "effort": encode(card.effort),
        "weights_sha256": card.weights_sha256,
    }


def _list(options: argparse.Namespace) -> Outcome:
    from vlm_train.listing import runs_table, summary

    workspace = Workspace(options.workspace)
    if not options.quiet:
        print(runs_table(workspace))
    return Outcome(summary(workspace))


def _plot_parser() -> Parser:
    parser = Parser("vlm-train plot", "Training curves of the workspace's runs, as HTML and SVG.")
    parser.add_argument("runs", nargs="*", metavar="RUN", help="names of runs (default: all)")
    return parser


def _plot(options: argparse.Namespace) -> Outcome:
    from vlm_train.curves import plot_curves

    plotted = plot_curves(Workspace(options.workspace), options.runs)
    for problem in plotted.problems:
        print(problem, file=sys.stderr)
    if not options.quiet:
        print("\n".join(f"Wrote {file}" for file in plotted.files))
    return Outcome({"files": [str(file) for file in plotted.files], "problems": plotted.problems})


if __name__ == "__main__":
    sys.exit(main())
