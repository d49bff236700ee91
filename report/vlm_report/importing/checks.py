"""Rules by which a reported row is doubted, beside those for a single cell. Each says what was seen, why it cannot be
right, and what to do."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from vlm_contract.codec import Absent
from vlm_contract.measurement import Verdict
from vlm_report.importing.documents import Cell, Row
from vlm_report.importing.models import KnownModel, models_called
from vlm_report.importing.values import Finding, Told, told_by
from vlm_targets.catalogue import all_targets

LITTLE = (0.9, 1.1)  # throughput × latency / batch, as in protocol vlm-1
COUNTED_WITHIN = 0.02  # counters of MACs differ in what they leave out
CHANCE_IMAGES = 1000  # fewer are rarely validated
CHANCE_DEVIATIONS = 3
CLASSES: Mapping[str, int] = {
    **dict.fromkeys(("cifar10", "cifar10jpeg", "mnist", "fashionmnist", "svhn", "digits", "stl10"), 10),
    **dict.fromkeys(("cifar100", "cifar100jpeg"), 100),
    **dict.fromkeys(("imagenet", "imagenet1k"), 1000),
    "tinyimagenet": 200,
}
# NVIDIA's GeForce cards by name: https://www.nvidia.com/en-us/geforce/graphics-cards/ and their predecessors'
# pages. The professional cards RTX 2000 to 6000 have other numbers.
GTX = frozenset(("1050", "1060", "1070", "1080", "1630", "1650", "1660"))
RTX = frozenset(f"{series}0{number}0" for series in "2345" for number in "56789") - {"2090"}
_GEFORCE = re.compile(r"\b(GTX|RTX) (\d{4})\b")


def judged(row: Row, target: str) -> Told:
    """A row as values, and all that is to be said against it; `target` is named where the user names the device."""
    told = told_by(row)
    findings = (
        *check_hardware(told, named=bool(target)),
        check_interval(told),
        check_little(told) or warn_if_no_batch(told),
        check_parameters(told, row),
        check_operations(told, row),
        *(check_loss(told, part) for part in ("train", "validation")),
        check_chance(told),
    )
    return withdrawn(told, [finding for finding in findings if finding])


def withdrawn(told: Told, findings: Iterable[Finding]) -> Told:
    """Without the figures that findings refuse, and with those that stand under another name."""
    listed = tuple(findings)
    taken = {name: value for finding in listed for name, value in finding.taken.items()}
    refused = {name: Absent(reason) for finding in listed for name, reason in finding.withdrawn.items()}
    return replace(told, values={**told.values, **refused, **taken}, findings=(*told.findings, *listed))


def model_of(told: Told) -> KnownModel | None:
    """The network that a row means: of several with its name, the one with its parameters; else the first."""
    named = models_called(told.text("model"))
    parameters = told.number("parameters")
    fitting = [model for model in named if parameters is None or model.has(parameters)]
    return next(iter((*fitting, *named)), None)


def check_hardware(told: Told, *, named: bool) -> tuple[Finding, ...]:
    """`hardware`: a card that nobody made. Of an accuracy, and where the user names the device, a warning alone."""
    device = told.text("device")
    real = _GEFORCE.sub(lambda match: f"{_series(match)} {match[2]}", device)
    if real == device:
        return ()
    target = next((target.name for target in all_targets() for word in target.recognised_by if word in real), "NAME")
    verdict = Verdict(
        code="hardware",
        level="warning" if named else "invalid",
        seen=device,
        limit=f"a device that exists: none is called so, one is called {real}",
        next_step="Correct the document." if named else f"Say which device it was: --target {target}.",
    )
    return Finding(verdict, ("speed",)), Finding(replace(verdict, level="warning"), ("run",))


def _series(match: re.Match[str]) -> str:
    """GTX or RTX as the card of that number is called; as written where the number is not known."""
    return "GTX" if match[2] in GTX else "RTX" if match[2] in RTX else match[1]


def check_interval(told: Told) -> Finding | None:
    """`order`: an interval or a percentile on the wrong side of the median."""
    middle = told.number("latency_ms_p50")
    sides = {"latency_ms_p50_low": -1, "latency_ms_p50_high": 1, "latency_ms_p90": 1, "latency_ms_p99": 1}
    values = {name: told.number(name) for name in sides}
    wrong = [
        name
        for name, side in sides.items()
        if middle is not None and (value := values[name]) is not None and side * (value - middle) < 0
    ]
    if not wrong:
        return None
    seen = ", ".join(f"{name} {values[name]:g}" for name in wrong)
    return Finding(
        Verdict(
            code="order",
            level="invalid",
            seen=f"{seen}, latency_ms_p50 {middle:g}",
            limit="low ≤ median ≤ high, p90, p99",
            next_step="Look up which column is which.",
        ),
        ("speed",),
    )


def check_little(told: Told) -> Finding | None:
    """`little`: latency and throughput of one loop contradict each other (Little's law)."""
    latency, rate, batch = told.number("latency_ms_p50"), told.number("images_per_s"), told.number("batch")
    if latency is None or rate is None or told.number("throughput_batch") not in (None, batch):
        return None
    at_once = rate * latency / 1e3  # images that are under way together
    ratio = at_once / ((batch or 1.0) * (told.number("streams") or 1.0))
    if LITTLE[0] <= ratio <= LITTLE[1]:
        return None
    alone = f"{(batch or 1.0) * 1e3 / latency:.0f} img/s"
    how = f"at batch {batch:.0f}" if batch else "one image at a time, for no batch is given,"
    return Finding(
        Verdict(
            code="little",
            level="invalid",
            seen=f"{latency:g} ms beside {rate:g} img/s",
            limit=f"{LITTLE[0]:g} to {LITTLE[1]:g} for throughput × latency / batch: {how} {latency:g} ms are {alone}; "
            f"together they would mean {at_once:.1f} images at a time",
            next_step="Say the batch of each, in the columns batch and throughput_batch, or measure with vlm-profile.",
        ),
        ("speed",),
    )


def warn_if_no_batch(told: Told) -> Finding | None:
    """`no_batch`: how many images a latency or a throughput is of is not said."""
    names = [name for name in ("latency_ms_p50", "images_per_s") if told.number(name) is not None]
    if not names or told.number("batch") is not None:
        return None
    return Finding(
        Verdict(
            code="no_batch",
            level="warning",
            seen=f"{' and '.join(names)} without a batch",
            limit="the batch of each",
            next_step="Add a column batch; without it a figure can be compared with none.",
        ),
        ("speed",),
    )


def check_parameters(told: Told, row: Row) -> Finding | None:
    """`parameters`: the network of that name has others."""
    parameters, models = told.number("parameters"), models_called(told.text("model"))
    if parameters is None or not models:
        return None
    cell = row.cells["parameters"]
    if any(model.has(parameters, half_a_digit(cell)) for model in models):
        return None
    ranges = (f"{m.timm} has {m.parameters_range[0] / 1e6:.2f} to {m.parameters_range[1] / 1e6:.2f} M" for m in models)
    return Finding(
        Verdict(
            code="parameters",
            level="invalid",
            seen=f"{cell.heading}: {cell.text}",
            limit=f"{'; '.join(ranges)}, with no classifier to one of 1000 classes",
            next_step="Name the network by its timm name, or count again.",
        ),
        ("model",),
        {"parameters": f"the document says {cell.text}, which no {told.text('model')} has"},
    )


def check_operations(told: Told, row: Row) -> Finding | None:
    """`macs_as_flops` and `operations`: a count under the wrong name, or of no size of image that is known."""
    model = model_of(told)
    given = [name for name in ("macs", "flops") if told.number(name) is not None]
    size = told.number("image_size")
    if model is None or len(given) != 1 or (size is not None and f"{size:.0f}" not in model.macs):
        return None
    name, cell = given[0], row.cells[given[0]]
    each = {"macs": 1, "flops": 2}
    found = {other: _size_with(model, told, cell, name, factor) for other, factor in each.items()}
    if found[name]:
        return None
    (other,) = each.keys() - {name}
    if found[other]:
        return _misnamed(name, other, told, cell, found[other], model)
    sizes = ", ".join(f"{macs / 1e9:.3f} G at {size} px" for size, macs in model.macs.items())
    return Finding(
        Verdict(
            code="operations",
            level="invalid",
            seen=f"{cell.heading}: {cell.text}",
            limit=f"MACs of {model.timm}: {sizes}; FLOPs are twice as many",
            next_step="Say the size of the images in the column image_size, and which of the two was counted.",
        ),
        ("model",),
        {name: f"the document says {cell.text}, which fits {model.timm} at no known size of image"},
    )


def _size_with(model: KnownModel, told: Told, cell: Cell, name: str, factor: int) -> str:
    """The size of image at which the count is `factor` times the MACs; empty where there is none."""
    count, size = told.number(name) or 0.0, told.number("image_size")
    sizes = {each: macs for each, macs in model.macs.items() if size is None or each == str(round(size))}
    hidden = half_a_digit(cell)
    return next((s for s, macs in sizes.items() if abs(count - factor * macs) <= COUNTED_WITHIN * count + hidden), "")


def _misnamed(name: str, other: str, told: Told, cell: Cell, size: str, model: KnownModel) -> Finding:
    words = {"macs": "MACs", "flops": "FLOPs"}
    return Finding(
        Verdict(
            code=f"{other}_as_{name}",
            level="warning",
            seen=f"{cell.heading}: {cell.text}",
            limit=f"one MAC is two FLOPs: {model.timm} has {model.macs[size] / 1e9:.3f} G MACs at {size} px",
            next_step=f"Taken as {words[other]} at {size} px; head the column so.",
        ),
        ("model",),
        {name: f"the document calls {cell.text} {words[name]}; these are the {words[other]} at {size} px"},
        {other: told.number(name) or 0.0},
    )


def check_loss(told: Told, part: str) -> Finding | None:
    """`loss`: a cross-entropy under what the errors alone cost.

    An image that is told wrongly has its true class at 1/2 at most, and so a loss of ln 2 at least.
    """
    accuracy, loss = told.number(f"{part}_accuracy_percent"), told.number(f"{part}_loss")
    if accuracy is None or loss is None:
        return None
    least = (100 - accuracy) / 100 * math.log(2)
    if loss >= least * 0.99 - 5e-5:
        return None
    return Finding(
        Verdict(
            code="loss",
            level="invalid",
            seen=f"{part} loss {loss:g} beside {accuracy:g} %",
            limit=f"{least:.4f}: each wrong answer costs ln 2 at least",
            next_step="Score both on the same images with the same network; cross-entropy is in nats, a mean.",
        ),
        ("run",),
    )


def check_chance(told: Told) -> Finding | None:
    """`chance`: a validation accuracy that guessing beats."""
    accuracy = told.number("validation_accuracy_percent")
    classes = CLASSES.get(re.sub(r"[^a-z0-9]", "", told.text("data").casefold()))
    if accuracy is None or classes is None:
        return None
    chance = 1 / classes
    least = 100 * (chance - CHANCE_DEVIATIONS * math.sqrt(chance * (1 - chance) / CHANCE_IMAGES))
    if accuracy >= least:
        return None
    return Finding(
        Verdict(
            code="chance",
            level="invalid",
            seen=f"validation accuracy {accuracy:g} %",
            limit=f"{max(least, 0):.2f} %: guessing among {classes} classes gives {100 * chance:g} %, "
            f"on {CHANCE_IMAGES} images with a deviation of {(100 * chance - least) / CHANCE_DEVIATIONS:.2f}",
            next_step="Check whether it is a fraction (0.52 for 52 %), and the order of the labels.",
        ),
        ("run",),
        {"validation_accuracy_percent": f"the document says {accuracy:g} %, which guessing beats"},
    )


def half_a_digit(cell: Cell) -> float:
    """What rounding may have hidden, in our unit: 0.007 G may be 0.0065 to 0.0075."""
    digits = re.search(r"\d+(?:,\d{3})*(?:\.(\d+))?", cell.text)
    decimals = len(digits[1] or "") if digits else 0
    return 0.5 * 10.0**-decimals * (cell.scale or 1.0)
