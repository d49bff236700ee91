"""What README and the wheel promise is there."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert link.startswith("https://") or (page.parent / link).exists(), link


def test_every_option_in_the_readme_is_one_that_the_command_has() -> None:
    helps = {}
    commands = re.findall(r"^(vlm-\w+) +(--.*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert {command for command, _ in commands} == {"vlm-train", "vlm-export", "vlm-profile", "vlm-report"}
    for command, words in commands:
        module = command.replace("-", "_")
        helps.setdefault(
            command, subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True).stdout
        )
        for option in re.findall(r"--[a-z-]+", words.partition("#")[0]):
            assert re.search(rf"{option}\b", helps[command]), f"{command} {option}"


def test_every_stage_folder_has_its_line_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    stages = ("contract", "train", "export", "profile", "targets", "report")
    for folder in (*stages, "tests", "scripts", "docs", "examples", "notebooks"):
        assert f"| `{folder}/` |" in text


@pytest.mark.slow
def test_the_wheel_holds_the_packages_their_data_and_the_licences(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(line, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for needed in (
        "vlm_contract/codec.py",
        "vlm_train/digits.npz",
        "vlm_targets/known/host.toml",
        "vlm_targets/jetpacks.toml",
        "vlm_profile/estimates/data/fit.json",
        "vlm_report/frames/backbones.toml",
        "vlm_report/importing/models.toml",
        "vlm_report/page/report.html.j2",
    ):
        assert needed in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert any(name.endswith("digits.LICENCE.md") for name in names)
    packages = {name.partition("/")[0] for name in names if "dist-info" not in name}
    assert packages == {"vlm_contract", "vlm_train", "vlm_export", "vlm_profile", "vlm_targets", "vlm_report"}
