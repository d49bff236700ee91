"""The examples are studies that run: every key, every option, every number of steps."""

from pathlib import Path

import pytest

from vlm_report.study.__main__ import options_of_command
from vlm_report.study.checks import check_options
from vlm_report.study.reading import matrix_from_file
from vlm_report.study.steps import places_of, steps_of

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples").glob("*.toml"))
STUDIES = [path for path in EXAMPLES if "[study]" in path.read_text()]


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.name)
def test_every_example_is_a_study_whose_options_the_commands_have(path: Path) -> None:
    matrix = matrix_from_file(path)
    check_options(matrix, {stage: options_of_command(stage) for stage in ("train", "export", "profile")})
    assert steps_of(matrix, places_of(matrix))[-1].id == "report"


def test_the_reference_study_is_the_whole_of_the_document() -> None:
    steps = steps_of(matrix := matrix_from_file(ROOT / "examples/reference-study.toml"), places_of(matrix))
    trained = [step for step in steps if step.stage == "train"]
    exported = [step for step in steps if step.stage == "export"]
    profiled = [step for step in steps if step.stage == "profile"]
    assert len(exported) == 7 * 3 * 2
    assert len(trained) == 7 * 3 * 2 + 2 * 3 * 2, "models, and two floors"
    assert len(profiled) == 7 * 2 * 4, "one regime of each model and data set, on four targets"
    for words in (step.words for step in trained if "pixels" not in step.id and "resnet9" not in step.id):
        assert {"--epochs=100", "--batch-size=128", "--lr=0.001", "--weight-decay=0.05"} <= set(words)


def test_the_quickstart_says_what_its_script_does() -> None:
    script = (ROOT / "scripts/quickstart.sh").read_text()
    matrix = matrix_from_file(ROOT / "examples/quickstart.toml")
    assert f"for model in {' '.join(matrix.train.models)}; do" in script
    assert f"--data {matrix.train.datasets[0]} --epochs {matrix.train.options['epochs']}" in script
    assert f"--model {matrix.train.floors[0]}" in script
    assert f"--precision {','.join(matrix.export.precisions)}" in script
    batches = ",".join(map(str, matrix.profile.batches))
    assert f"--batch {batches} --max-seconds {matrix.profile.options['max-seconds']}" in script


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.name)
def test_the_readme_names_every_example(path: Path) -> None:
    assert f"]({path.name})" in (ROOT / "examples/README.md").read_text()


def test_the_study_in_the_documentation_is_one(tmp_path: Path) -> None:
    page = (ROOT / "docs/study.md").read_text()
    text = page.partition("```toml\n")[2].partition("```")[0]
    (tmp_path / "study.toml").write_text(text)
    matrix = matrix_from_file(tmp_path / "study.toml")
    check_options(matrix, {stage: options_of_command(stage) for stage in ("train", "export", "profile")})
    assert matrix.cost.currency == "EUR"
