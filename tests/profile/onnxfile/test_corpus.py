"""The models that the onnx package brings along: each is opened and run once, or refused with a reason.

Run as a script, this prints how many ran, and what refuses each of the others.
"""

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest

from vlm_profile.process import worker_variables

LIMIT_S = 30.0  # a model; with a loop or a crash the next ones go on in a new process
RAN = "ran"
SHARE = 8  # of the files on disk, one in so many in the fast suite
OPERATORS = ("constant", "gather", "if_", "loop", "optionalgetelement", "qlinearconv", "scan", "string_split")


def files_on_disk() -> list[Path]:
    import onnx

    return sorted((Path(onnx.__file__).parent / "backend/test/data").rglob("*.onnx"))


def node_models(folder: Path, modules: Sequence[str] = ()) -> list[Path]:
    """The models of the node tests, which the package makes when asked; those of some modules alone in no time."""
    from onnx.backend.test.case import node
    from onnx.backend.test.loader import load_node_model_tests

    for module in modules:
        import_module(f"{node.__name__}.{module}")
    cases = node._NodeTestCases if modules else load_node_model_tests()
    paths = [folder / f"{case.name}.onnx" for case in cases]
    for path, case in zip(paths, cases, strict=True):
        path.write_bytes(case.model.SerializeToString())
    return paths


def found(paths: Sequence[Path]) -> dict[Path, str]:
    """What becomes of each model: RAN, the sentence that refuses it, or what happened to the process that tried."""
    results: dict[Path, str] = {}
    while left := [path for path in paths if path not in results]:
        child = subprocess.Popen(
            [sys.executable, "-c", f"import runpy; runpy.run_path({__file__!r})['child']()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **worker_variables(threads=1)},
        )
        try:
            results |= talked(child, left)
        finally:
            child.kill()
            child.communicate()
    return results


def talked(child: "subprocess.Popen[str]", paths: Sequence[Path]) -> dict[Path, str]:
    """Ask about one model after the other, until the child fails at one."""
    assert child.stdin
    assert child.stdout
    results: dict[Path, str] = {}
    for path in paths:
        child.stdin.write(f"{path}\n")
        child.stdin.flush()
        ready, _, _ = select.select([child.stdout], [], [], LIMIT_S)
        answer = child.stdout.readline() if ready else ""
        if not answer:
            results[path] = f"the process died with {child.wait(5)}" if ready else f"did not end within {LIMIT_S} s"
            return results
        results[path] = json.loads(answer)
    return results


def child() -> None:
    """Answers on stdout, a line of JSON for each path on stdin. An error that no user should see ends it."""
    import resource

    from vlm_profile.runtimes.onnxruntime_cpu import Runtime

    resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))
    Runtime.import_library()
    for line in sys.stdin:
        print(json.dumps(tried(Path(line.rstrip("\n")))), flush=True)


def tried(path: Path) -> str:
    """As the command does it: looked at, opened, given random inputs of its kind, run."""
    from vlm_contract.errors import VlmError
    from vlm_profile.inputs import random_feeds, resolved
    from vlm_profile.runtimes.onnxruntime_cpu import Runtime
    from vlm_profile.subjects import subject_at

    try:
        subject = subject_at(path)
        with by_the_runtime():
            runtime = Runtime(subject.path, 1, {})
        (feed,) = random_feeds(resolved(runtime.inputs, 1, {}), 1, seed=0)
        with by_the_runtime():
            runtime.run(feed)
    except VlmError as error:
        return str(error)
    return RAN


@contextmanager
def by_the_runtime() -> Iterator[None]:
    """Whatever a runtime raises refuses the model, as in a worker."""
    from vlm_contract.errors import VlmError

    try:
        yield
    except Exception as error:  # noqa: BLE001 (the exceptions of runtimes share no base)
        raise VlmError(f"{type(error).__name__}: {error}") from None


def check_results(results: dict[Path, str], least_share_that_runs: float = 0.6) -> None:
    """Each model ran or was refused with a reason; none broke a process or took too long."""
    broken = {path.stem: said for path, said in results.items() if said.startswith(("the process died", "did not end"))}
    assert broken == {}
    assert all(said and "Traceback" not in said for said in results.values())
    assert sum(said == RAN for said in results.values()) >= least_share_that_runs * len(results)


def test_a_share_of_the_files_on_disk_is_run_or_refused_with_a_reason() -> None:
    check_results(found(files_on_disk()[::SHARE]))


def test_models_of_operators_with_graphs_texts_and_odd_types_are_run_or_refused_with_a_reason(tmp_path: Path) -> None:
    check_results(found(node_models(tmp_path, OPERATORS)), least_share_that_runs=0.4)


@pytest.mark.slow
def test_every_file_on_disk_is_run_or_refused_with_a_reason() -> None:
    check_results(found(files_on_disk()))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # onnx computes infinities while it makes the models
def test_every_model_of_the_node_tests_is_run_or_refused_with_a_reason(tmp_path: Path) -> None:
    results = found(node_models(tmp_path))
    assert len(results) > 1000
    check_results(results)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        for title, paths in (("files on disk", files_on_disk()), ("node tests", node_models(Path(scratch)))):
            results = found(paths)
            print(f"{title}: {len(results)}, of which {sum(said == RAN for said in results.values())} ran; refused:")
            for path, said in results.items():
                if said != RAN:
                    print(f"  {path.stem}: {' '.join(said.replace(str(path), 'it').split())[:160]}")
