"""The toolkit's wheel for boards: what a package installer takes, written without one."""

import base64
import csv
import hashlib
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from io import StringIO
from pathlib import Path

import pytest

from vlm_contract.errors import VlmError
from vlm_profile.boards import wheel
from vlm_profile.boards.environment import NEWEST, OLDEST
from vlm_profile.boards.wheel import Wheel, requirements_of, wheel_of_this_toolkit

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Wheel:
    return wheel_of_this_toolkit(tmp_path_factory.mktemp("wheel"))


def test_equal_files_give_an_equal_wheel(made: Wheel, tmp_path: Path) -> None:
    again = wheel_of_this_toolkit(tmp_path)
    assert again.digest == made.digest
    assert again.path.read_bytes() == made.path.read_bytes()


def test_its_record_names_every_file_with_its_digest(made: Wheel) -> None:
    info = f"vlm_edge-{made.version}.dist-info"
    with zipfile.ZipFile(made.path) as archive:
        rows = list(csv.reader(StringIO(archive.read(f"{info}/RECORD").decode())))
        assert [row[0] for row in rows] == archive.namelist()
        for name, digest, size in rows[:-1]:
            data = archive.read(name)
            said = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            assert (digest, int(size)) == (f"sha256={said}", len(data)), name
    assert rows[-1] == [f"{info}/RECORD", "", ""]


def test_it_holds_the_packages_of_the_project_and_what_they_need(made: Wheel) -> None:
    with zipfile.ZipFile(made.path) as archive:
        names = archive.namelist()
        metadata = archive.read(f"vlm_edge-{made.version}.dist-info/METADATA").decode()
    roots = {name.partition("/")[0] for name in names if ".dist-info" not in name}
    assert roots == {Path(path).name for path in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]}
    assert {"vlm_targets/known/rpi5.toml", "vlm_profile/worker.py", "vlm_train/recipes.toml"} <= set(names)
    assert not [name for name in names if "__pycache__" in name or name.startswith(("/", ".."))]
    assert metadata == distribution("vlm-edge").read_text("METADATA")


def test_requirements_are_the_projects(made: Wheel) -> None:
    assert len(made.requirements) == len(PROJECT["project"]["dependencies"])
    assert any(each.startswith("numpy") for each in made.requirements)
    (runtime,) = requirements_of("ort")
    assert set(runtime.removeprefix("onnxruntime").split(",")) == {">=1.23", "<2"}


def test_a_requirement_that_some_machines_alone_have_is_one_of_its_extra() -> None:
    (runtime,) = requirements_of("trt-rtx")
    assert runtime.startswith("tensorrt-rtx-cu13")


def test_pythons_are_those_of_the_project() -> None:
    assert PROJECT["project"]["requires-python"] == ">={}.{},<{}.{}".format(*OLDEST, NEWEST[0], NEWEST[1] + 1)


def test_an_installer_takes_it_and_it_measures_without_torch(made: Wheel, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", str(tmp_path), str(made.path)], check=True)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "for name in ('torch', 'timm', 'onnx', 'onnxruntime', 'pandas'): sys.modules[name] = None\n"
        "import vlm_profile.session, vlm_profile.worker, vlm_profile.boards.onboard_measure\n"
        f"assert vlm_profile.session.__file__.startswith({str(tmp_path)!r})\n"
    )
    subprocess.run([sys.executable, "-I", "-c", code], check=True)


def test_a_toolkit_that_is_not_installed_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheel, "DISTRIBUTION", "no-such-distribution")
    with pytest.raises(VlmError, match="was never installed") as caught:
        wheel_of_this_toolkit(tmp_path)
    assert caught.value.hint == "pip install --editable ."
