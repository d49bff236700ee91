"""From the matrix to steps: names, keys, what waits for what."""

from dataclasses import replace
from pathlib import Path

import pytest

from vlm_contract.codec import Absent
from vlm_report.study.matrix import (
    Constraints,
    Cost,
    Exporting,
    Matrix,
    Name,
    Override,
    Profiling,
    Training,
)
from vlm_report.study.steps import Step, places_of, steps_of, with_threads, words_of

NO_COST = Cost(Absent("not given"), Absent("not given"), "")
MATRIX = Matrix(
    Name("study"),
    Training(("alpha", "beta"), ("digits",), (100, 200), (0, 1), ("pixels",), {}, ()),
    Exporting(("onnx",), ("fp32", "fp16"), {}),
    Profiling(("host", "jetson"), (1, 8), ("auto",), {}, (), (), {}),
    Constraints(()),
    NO_COST,
)
PLACES = {"host": "here", "jetson": "estimate"}


def steps(matrix: Matrix = MATRIX, machine: str = "this one") -> dict[str, Step]:
    return {step.id: step for step in steps_of(matrix, PLACES, machine)}  # type: ignore[arg-type]


def changed(matrix: Matrix, machine: str = "this one") -> set[str]:
    """Steps whose key is another than in MATRIX, by what they were called there; new ones too."""
    before = steps()
    return {id for id, step in steps(matrix, machine).items() if id not in before or before[id].key != step.key}


def test_every_run_is_trained_exported_and_profiled_on_each_target() -> None:
    found = steps()
    stages = [step.stage for step in found.values()]
    assert [stages.count(stage) for stage in ("train", "export", "profile", "report")] == [8 + 2, 8, 16, 1]
    assert found["profile/jetson/beta-digits-200-s1"].after == ("export/beta-digits-200-s1",)
    assert found["export/beta-digits-200-s1"].after == ("train/beta-digits-200-s1",)
    assert len(found["report"].after) == len(found) - 1


def test_all_models_come_with_one_seed_before_any_comes_with_the_next() -> None:
    seeds = [step.run[-2:] for step in steps().values() if step.stage == "train" and not step.run.startswith("pixels")]
    assert seeds == ["s0"] * 4 + ["s1"] * 4


def test_floors_are_trained_with_their_own_recipe_and_not_exported() -> None:
    matrix = replace(MATRIX, train=replace(MATRIX.train, options={"epochs": 2}))
    pixels = steps(matrix)["train/pixels-digits-100-s0"]
    assert not any(word.startswith("--epochs") for word in pixels.words)
    assert "export/pixels-digits-100-s0" not in steps(matrix)


def test_options_give_a_run_a_name_of_its_own_that_says_nothing_of_threads() -> None:
    def run(**options: int) -> str:
        return next(
            step.run
            for step in steps(replace(MATRIX, train=replace(MATRIX.train, options=options))).values()
            if step.model == "alpha"
        )

    assert run() == run(threads=2) == "alpha-digits-100-s0"
    assert run(epochs=2).startswith("alpha-digits-100-s0-")
    assert run(epochs=2) == run(epochs=2, threads=1) != run(epochs=3)


def test_a_changed_option_changes_the_keys_of_what_depends_on_it_and_of_nothing_else() -> None:
    profile = replace(MATRIX.profile, options={"quick": True})
    assert {id.split("/")[0] for id in changed(replace(MATRIX, profile=profile))} == {"profile"}
    export = replace(MATRIX.export, options={"max-drop": 2})
    assert {id.split("/")[0] for id in changed(replace(MATRIX, export=export))} == {"export", "profile"}
    override = Override(("beta",), {"lr": 0.1})
    train = replace(MATRIX.train, override=(override,))
    assert {id.split("/")[-1].split("-")[0] for id in changed(replace(MATRIX, train=train))} == {"beta"}
    assert changed(replace(MATRIX, constraints=Constraints(("latency_ms_p99<=20",)))) == {"report"}


def test_more_seeds_change_nothing_of_what_is_there() -> None:
    more = replace(MATRIX, train=replace(MATRIX.train, seeds=(0, 1, 2)))
    assert all("s2" in id for id in changed(more))


def test_what_was_measured_on_another_machine_is_measured_anew_here() -> None:
    assert {id.rpartition("/")[0] for id in changed(MATRIX, "another one")} == {"profile/host"}


def test_a_measurement_here_takes_the_whole_machine_and_an_estimate_does_not() -> None:
    found = steps()
    assert found["profile/host/alpha-digits-100-s0"].needs.whole
    assert not found["profile/jetson/alpha-digits-100-s0"].needs.whole


def test_only_the_runs_that_the_study_names_are_profiled() -> None:
    found = steps(replace(MATRIX, profile=replace(MATRIX.profile, samples=(200,), seeds=(1,))))
    assert {step.run for step in found.values() if step.stage == "profile"} == {
        "alpha-digits-200-s1",
        "beta-digits-200-s1",
    }


def test_options_are_words_as_they_are_typed() -> None:
    words = words_of({"epochs": 3, "compile": True, "floors": False, "lr": 1e-3, "sm": (75, 86), "budget": ("a", "b")})
    assert words == ("--epochs=3", "--compile", "--lr=0.001", "--sm=75,86", "--budget=a", "--budget=b")


def test_a_training_is_given_its_cores_unless_the_study_says_how_many() -> None:
    step = steps()["train/alpha-digits-100-s0"]
    assert with_threads(step, 3).words[-1] == "--threads=3"
    own = replace(step, words=(*step.words, "--threads=1"))
    assert with_threads(own, 3) == own


@pytest.mark.parametrize(
    ("hosts", "place"),
    [({}, "estimate"), ({"jetson": "user@board"}, "board")],
)
def test_a_target_is_measured_where_it_is_and_else_estimated(hosts: dict[str, str], place: str, tmp_path: Path) -> None:
    matrix = replace(MATRIX, profile=replace(MATRIX.profile, hosts=hosts))
    assert places_of(matrix, tmp_path) == {"host": "here", "jetson": place}
