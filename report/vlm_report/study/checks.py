"""What a study may ask for, checked before anything runs; each check names the field, and the nearest right word."""

import difflib
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from vlm_contract.codec import FieldError
from vlm_contract.errors import VlmError
from vlm_contract.floors import FLOORS
from vlm_contract.workspace import safe_name
from vlm_report.study.matrix import FOLDER, Matrix, Options, Value, dataset_name

STEPS_LIMIT = 20_000
DATASETS = ("digits", "fashion-mnist", "cifar10", "cifar100")  # of vlm-train, beside folders
FORMATS, PRECISIONS = ("onnx", "trt"), ("fp32", "fp16", "int8")
LARGEST_SEED = 2**32 - 1
# What a study decides for each step, and where it says so; the options of all commands are the study's own.
COMMON = ("workspace", "json", "quiet", "debug", "version", "help")
DECIDED = {
    "train": ("model", "data", "samples", "seed", "seeds", "name", "floors", "resume", "overwrite"),
    "export": ("ckpt", "fmt", "precision", "model", "num-classes", "image-size", "adapt", "mean", "std", "data"),
    "profile": ("target", "artifact", "host", "fleet", "batch", "runtime", "again", "show-invalid"),
}


def check_matrix(matrix: Matrix) -> None:
    """Raise FieldError for the first field that cannot be."""
    for check in _CHECKS:
        check(matrix)


def check_options(matrix: Matrix, known: Mapping[str, Collection[str]]) -> None:
    """Raise VlmError naming the nearest where an option is none of its command's; `known` by stage, without dashes."""
    for stage, field, options in _all_options(matrix):
        for name in options:
            if name not in known[stage]:
                problem = f"vlm-{stage} has no option --{name}; {_nearest(name, known[stage])}"
                raise VlmError(f"Study {matrix.name}: {field}.{name}: {problem}.", hint=f"vlm-{stage} --help")


def _check_names(matrix: Matrix) -> None:
    name, train = matrix.name, matrix.train
    if name != safe_name(name):
        raise FieldError("study.name", f"{name!r} cannot name a folder; {safe_name(name)!r} can")
    for field in ("models", "datasets", "seeds"):
        if not getattr(train, field):
            raise FieldError(f"train.{field}", "expected one or more")
    for field, values in _lists(matrix):
        twice = [value for index, value in enumerate(values) if value in values[:index]]
        if twice:
            raise FieldError(field, f"{twice[0]!r} stands there twice")
    for index, model in enumerate(train.models):
        if not model or model != safe_name(model):
            raise FieldError(f"train.models[{index}]", f"{model!r} is no name of a timm model")
    for index, override in enumerate(train.override):
        _check_among(f"train.override[{index}].models", override.models, train.models)


def _check_training(matrix: Matrix) -> None:
    train = matrix.train
    for index, dataset in enumerate(train.datasets):
        if dataset not in DATASETS and not re.fullmatch(rf"{FOLDER}.+", dataset):
            problem = f"{dataset!r} is no data set of vlm-train; {_nearest(dataset, (*DATASETS, f'{FOLDER}PATH'))}"
            raise FieldError(f"train.datasets[{index}]", problem)
    names = [dataset_name(dataset) for dataset in train.datasets]
    if len(set(names)) < len(names):
        raise FieldError("train.datasets", "two folders have one name, and their runs would: rename one folder")
    for index, samples in enumerate(train.samples):
        if samples < 1:
            raise FieldError(f"train.samples[{index}]", f"expected 1 or more, found {samples}")
    for index, seed in enumerate(train.seeds):
        if not 0 <= seed <= LARGEST_SEED:
            raise FieldError(f"train.seeds[{index}]", f"expected 0 to {LARGEST_SEED}, found {seed}")
    _check_among("train.floors", train.floors, FLOORS)
    if both := set(train.floors) & set(train.models):
        raise FieldError("train.floors", f"{min(both)!r} is among the models already")


def _check_export(matrix: Matrix) -> None:
    export = matrix.export
    _check_among("export.formats", export.formats, FORMATS)
    _check_among("export.precisions", export.precisions, PRECISIONS)
    if export.formats and not export.precisions:
        raise FieldError("export.precisions", "expected one or more")
    if matrix.profile.targets and not export.formats:
        raise FieldError("profile", "there is nothing to profile without a table [export]")


def _check_profile(matrix: Matrix) -> None:
    profile, train = matrix.profile, matrix.train
    names = [_target(f"profile.targets[{index}]", name) for index, name in enumerate(profile.targets)]
    if len(set(names)) < len(names):
        raise FieldError("profile.targets", f"one target stands there twice: {', '.join(profile.targets)}")
    _check_among("profile.hosts", tuple(profile.hosts), profile.targets)
    for target, address in profile.hosts.items():
        _check_address(f"profile.hosts.{target}", address)
    sizes = [batch for batch in profile.batches if not isinstance(batch, int) or batch < 1]
    if (sizes and profile.batches != ("auto",)) or not profile.batches:
        raise FieldError("profile.batches", 'expected numbers from 1 on, or ["auto"]')
    if not profile.runtimes:
        raise FieldError("profile.runtimes", 'expected names of runtimes, or ["auto"]')
    _check_among("profile.samples", profile.samples, train.samples)
    _check_among("profile.seeds", profile.seeds, train.seeds)


def _check_decided(matrix: Matrix) -> None:
    for stage, field, options in _all_options(matrix):
        for name in options:
            if name in COMMON or name in DECIDED[stage]:
                raise FieldError(f"{field}.{name}", f"the study itself decides --{name}; see docs/study.md")
            if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
                raise FieldError(
                    f"{field}.{name}", f"no long option's name; expected one such as batch-size for {name}"
                )


def _check_rest(matrix: Matrix) -> None:
    from vlm_report.decision.limits import limit_from

    for index, text in enumerate(matrix.constraints.require):
        try:
            limit_from(text)
        except VlmError as error:
            problem = f"{str(error).rstrip('.')}; try {error.hint}"
            raise FieldError(f"constraints.require[{index}]", problem) from None
    for field in ("per_cpu_hour", "per_gpu_hour"):
        price = getattr(matrix.cost, field)
        if isinstance(price, float) and not 0 <= price < 1e6:
            raise FieldError(f"cost.{field}", f"expected 0 or more, found {price:g}")


def _check_size(matrix: Matrix) -> None:
    train, profile = matrix.train, matrix.profile
    runs = len(train.models) * len(train.datasets) * max(1, len(train.samples)) * len(train.seeds)
    if runs * (2 + len(profile.targets)) > STEPS_LIMIT:
        raise FieldError("train", f"{runs} runs are more than a study may have ({STEPS_LIMIT} steps)")


def _all_options(matrix: Matrix) -> Iterator[tuple[str, str, Options]]:
    """Stage, field and options."""
    yield "train", "train.options", matrix.train.options
    for index, override in enumerate(matrix.train.override):
        yield "train", f"train.override[{index}].options", override.options
    yield "export", "export.options", matrix.export.options
    yield "profile", "profile.options", matrix.profile.options


def _lists(matrix: Matrix) -> Iterator[tuple[str, Sequence[object]]]:
    for table in ("train", "export", "profile", "constraints"):
        for field, value in vars(getattr(matrix, table)).items():
            if isinstance(value, tuple) and field != "override":
                yield f"{table}.{field}", value


def _check_among(field: str, values: Sequence[Value], known: Sequence[Value]) -> None:
    for index, value in enumerate(values):
        if value not in known:
            raise FieldError(f"{field}[{index}]", f"{value!r} is not known; {_nearest(value, known)}")


def _target(field: str, name: str) -> str:
    """The target's own name, of an alias too."""
    from vlm_targets.catalogue import target_named

    try:
        return target_named(name).name
    except VlmError as error:
        raise FieldError(field, str(error).rstrip(".")) from None


def _check_address(field: str, address: str) -> None:
    from vlm_targets.ssh import check_address

    try:
        check_address(address)
    except VlmError as error:
        raise FieldError(field, str(error).rstrip(".")) from None


def _nearest(word: Value, known: Collection[Value]) -> str:
    words = [str(each) for each in known]
    nearest = difflib.get_close_matches(str(word), words, n=1, cutoff=0.5)
    return f"did you mean {nearest[0]}?" if nearest else f"expected some of {', '.join(words)}"


_CHECKS: tuple[Callable[[Matrix], None], ...] = (
    _check_names,
    _check_training,
    _check_export,
    _check_profile,
    _check_decided,
    _check_rest,
    _check_size,
)
