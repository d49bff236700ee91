"""Which rows a request comes to: every artifact × runtime × batch × threads × streams × options."""

import difflib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vlm_contract.card import Scalar
from vlm_contract.codec import Absent, known
from vlm_contract.console import require_extra
from vlm_contract.errors import VlmError
from vlm_contract.measurement import Device, Measurement, Setup
from vlm_contract.workspace import Workspace, safe_name
from vlm_profile.affinity import pinnings
from vlm_profile.inputs import Shapes
from vlm_profile.protocol import FULL, Protocol
from vlm_profile.runtimes import Options, Runtime, runtimes
from vlm_profile.subjects import Subject, exported_from

if TYPE_CHECKING:
    from vlm_profile.places import Place

HOST = "host"
Auto = Literal["auto"]


@dataclass(frozen=True)
class Request:
    """What to measure, and how. No `artifacts` are those of the workspace."""

    target: str = HOST
    host: str = ""  # the address of a board; empty: this machine, or the address in the target's own file
    target_files: tuple[Path, ...] = ()  # of targets of one's own
    power_mode: str | None = None  # that an estimate is for; None: the one that the target starts in
    lock_clocks: bool = False  # set a board's clocks to their most meanwhile
    clocks_locked: bool = False  # whether they are, as the machine itself says; whoever measures on it sets this
    computes: str = ""  # "cpu" or "cuda": the device of the runtimes that are chosen from; empty: any
    estimate: bool = True  # where the target is out of reach; else it is refused
    artifacts: tuple[Path, ...] = ()
    batches: tuple[int, ...] | Auto = (1, 8)  # auto: doubled until it gains nothing more
    threads: int | Auto | None = None  # inside one inference; None: all usable CPUs; auto: each number that makes sense
    streams: tuple[int, ...] = (1,)  # inferences at a time
    fps: float | None = None  # frames offered a second; None: one call after the other
    runtime: str = "auto"  # the first that is usable here, or names with commas
    input_shapes: Shapes = field(default_factory=dict)
    protocol: Protocol = FULL
    seed: int = 0  # of the order and of the inputs
    trusted: tuple[str, ...] = ()  # sha256 of engines from elsewhere, which are native code
    wait_quiet_s: float = 60.0  # at most, before the first process, for others to leave the machine alone
    again: bool = False  # measure what a stored result already answers

    def __post_init__(self) -> None:
        several = max(self.streams, default=1) > 1
        if several and (self.fps is not None or self.protocol.soak_s):
            raise VlmError(
                "Frames come to one stream, and a sustained run is one too: several have no order in time.",
                hint="--streams 1, or neither --fps nor --soak",
            )


@dataclass(frozen=True)
class Row:
    """One row to be."""

    path: Path  # of its record
    subject: Subject
    runtime: type[Runtime]
    setup: Setup


def rows_of(
    workspace: Workspace, request: Request, subject: Subject, batches: Sequence[int], place: "Place"
) -> Iterator[Row]:
    """The rows of one artifact at these batches, at a place."""
    fps = Absent("one call after the other") if request.fps is None else float(request.fps)
    for kind in runtimes_for(subject, request.runtime, place):
        ways = tuple(_ways(request, kind, place.device))
        scope = kind.scope if request.fps is None else f"{kind.scope}, from the frame's coming"
        for batch, streams, (threads, options) in product(batches, request.streams, ways):
            setup = Setup(batch, check_streams(streams, threads, place.device), streams, scope, fps, dict(options))
            name = row_name(subject, kind, setup, request, place.device)
            yield Row(workspace.measurement(place.target, name), subject, kind, setup)


def check_streams(streams: int, threads: int, device: Device) -> int:
    """The threads of each stream. Raises VlmError where they would wait for each other: that measures the scheduler."""
    usable = known(device.usable_cpus)
    if streams * threads > usable and streams > 1:
        raise VlmError(
            f"{streams} streams of {threads} threads are {streams * threads} at work; {usable} CPUs are ours.",
            hint=f"--streams {streams} --threads {max(1, usable // streams)}",
        )
    return threads


def row_name(subject: Subject, kind: type[Runtime], setup: Setup, request: Request, device: Device) -> str:
    """The artifact, the runtime, batch and threads; then what is unlike the usual, and the state of the device."""
    soak_s = request.protocol.soak_s
    words = [f"b{setup.batch}", f"t{setup.threads}"]
    words += [f"s{setup.streams}"] if known(setup.streams) > 1 else []
    words += [f"fps{setup.fps:g}"] if isinstance(setup.fps, float) else []
    words += [f"soak{soak_s:g}"] if soak_s else []
    words += [safe_name(f"{name}-{'x'.join(map(str, shape))}") for name, shape in sorted(request.input_shapes.items())]
    words += [safe_name(f"{name}-{value}".lower().replace(",", "+")) for name, value in sorted(setup.options.items())]
    words += [safe_name(device.power_mode.lower())] if isinstance(device.power_mode, str) else []
    words += ["locked"] if request.clocks_locked else []
    return f"{safe_name(subject.label)}.{kind.name}-{'-'.join(words)}"


def runtimes_for(subject: Subject, names: str, place: "Place") -> tuple[type[Runtime], ...]:
    """Those of the named runtimes that take the subject's format, or the first usable one. Raises VlmError for none."""
    fitting = {kind.name: kind for kind in place.runtimes.values() if subject.used.format in kind.formats}
    if names == "auto" and (choices := [kind for kind in choices_at(place) if kind in fitting.values()]):
        usable = [kind for kind in choices if not place.unusable(kind)] or choices
        if place.computes and place.unusable(usable[0]):
            raise none_computes(choices, place)
        return tuple(sorted(usable, key=lambda kind: kind.name != "onnxruntime"))[:1]
    if chosen := [fitting[name] for name in names.split(",") if name in fitting]:
        return tuple(chosen)
    takes = {format for name in names.split(",") if name in place.runtimes for format in place.runtimes[name].formats}
    exported = exported_from(subject, takes)
    raise VlmError(
        f"{names} runs no {subject.used.format} artifact, which {subject.used.name} is.",
        hint=f"--artifact {exported[0]}" if exported else f"--runtime {' or '.join(fitting) or 'auto'}",
    )


def choices_at(place: "Place") -> list[type[Runtime]]:
    """What "auto" chooses from: runtimes on the device that figures of the place are of."""
    return [kind for kind in place.runtimes.values() if place.computes in ("", kind.device)]


def none_computes(kinds: Sequence[type[Runtime]], place: "Place") -> VlmError:
    """The error where nothing is installed that computes on the target's device: another's figures would not be its."""
    device = {"cuda": "GPU", "cpu": "CPU"}[place.computes]
    whys: dict[str, list[str]] = {}
    for kind in kinds:
        whys.setdefault(place.unusable(kind), []).append(kind.name)
    told = "; ".join(f"{', '.join(names)}: {why}" for why, names in whys.items())
    return VlmError(
        f"Nothing here runs the model on the {device}, which the target is: {told}.",
        hint="sudo apt install tensorrt, or onnxruntime-gpu for its Python, on that machine; then the same command"
        if place.computes == "cuda"
        else "vlm-profile doctor",
    )


def check_runtimes(names: str, place: "Place") -> None:
    """Raise VlmError for a runtime that the place cannot have, and naming the nearest where it is none at all.

    And where nothing is there to choose from.
    """
    known_ones, choices = place.runtimes, choices_at(place)
    if place.computes and names == "auto" and all(map(place.unusable, choices)):
        raise none_computes(choices, place)
    for name in names.split(","):
        if name != "auto" and name not in known_ones:
            if name in runtimes():
                have = " or ".join(known_ones)
                raise VlmError(f"{name} does not run on {place.address}; there, {have} does.", hint=f"--runtime {have}")
            nearest = difflib.get_close_matches(name, known_ones, n=1) or ["auto"]
            raise VlmError(f"{name!r} is no runtime; known: {', '.join(known_ones)}.", hint=f"--runtime {nearest[0]}")


def check_threads(threads: int, device: Device) -> int:
    """Raise VlmError where more threads than CPUs were asked for."""
    usable = known(device.usable_cpus)
    if not 1 <= threads <= usable:
        raise VlmError(
            f"--threads {threads}: the affinity mask and the cgroup quota leave 1 to {usable}.",
            hint=f"--threads {usable}",
        )
    return threads


def check_one_thread(threads: int | Auto | None, kind: type[Runtime]) -> int:
    """One, which launches and waits. Raises VlmError for a number that a program of its own is not told."""
    if threads not in (None, "auto", 1):
        raise VlmError(
            f"--threads {threads}: {kind.name} is told of no threads; one of the CPU's launches, and waits.",
            hint="the same without --threads",
        )
    return 1


def check_usable(kind: type[Runtime], place: "Place") -> None:
    """Raise VlmError where a runtime cannot run at a place."""
    if why := place.unusable(kind):
        raise VlmError(f"{kind.name} cannot be used here: {why}.", hint="vlm-profile doctor")


def installed_version(kind: type[Runtime]) -> str:
    """Raises VlmError naming the extra where it is not installed."""
    if found := kind.version():
        return found
    raise require_extra(kind.extra, ImportError(name=kind.distribution))


def _ways(request: Request, kind: type[Runtime], device: Device) -> Iterator[tuple[int, Options]]:
    """Numbers of threads, and options with each."""
    if kind.self_timed:
        yield from ((check_one_thread(request.threads, kind), options) for options in kind.variants)
        return
    if request.threads != "auto":
        threads = check_threads(request.threads or known(device.usable_cpus), device)
        yield from ((threads, options) for options in kind.variants)
        return
    cpus = sorted(os.sched_getaffinity(0))
    for threads in thread_counts(known(device.usable_cpus)):
        yield from ((threads, options) for options in kind.tuning)
        for pinned in pinnings(threads, cpus):
            yield from ((threads, {**options, "cpus": pinned}) for options in kind.tuning)


def thread_counts(usable: int) -> list[int]:
    """Powers of two below all usable CPUs, and these."""
    return sorted({usable, *(2**i for i in range(usable.bit_length()) if 2**i <= usable)})


def described(options: dict[str, Scalar]) -> str:
    """In words: "cuda graph on, cpus 0,1"."""
    words = {True: "on", False: "off"}
    return ", ".join(
        f"{name.replace('_', ' ')} {words[value] if isinstance(value, bool) else value}"
        for name, value in sorted(options.items())
    )


def how_it_ran(measurement: Measurement) -> str:
    """The runtime, then what is unlike one call after the other with its usual options."""
    setup = measurement.setup
    runtime = measurement.runtime.name
    words = ["runtime not said" if isinstance(runtime, Absent) else runtime, described(setup.options)]
    words += [f"{setup.streams} streams"] if isinstance(setup.streams, int) and setup.streams > 1 else []
    words += [f"{setup.fps:g} frames a second"] if isinstance(setup.fps, float) else []
    return ", ".join(filter(None, words))


def setup_in_words(m: Measurement) -> str:
    """What makes a record another row than others of its artifact and runtime."""
    setup = m.setup
    told = {"": m.artifact.precision, "b": setup.batch, "t": setup.threads}
    words = [f"{letter}{value}" for letter, value in told.items() if not isinstance(value, Absent)]
    words += [f"s{setup.streams}"] if isinstance(setup.streams, int) and setup.streams > 1 else []
    words += [] if isinstance(setup.fps, Absent) else [f"{setup.fps:g} fps"]
    words += [f"{m.settings['soak_s']:g} s long"] if m.settings.get("soak_s") else []
    return " ".join(filter(None, [*words, described(setup.options)]))


def row_in_words(measurement: Measurement) -> str:
    """The artifact, the runtime and the setup."""
    return f"{measurement.artifact.name} {measurement.runtime.name} {setup_in_words(measurement)}"
