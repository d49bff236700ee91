"""The house rules that the folder tree and the imports keep."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STAGES = ("contract", "train", "export", "profile", "targets", "report")
TORCH_FREE = ("contract", "targets", "profile", "report")
MAY_IMPORT = {
    "vlm_contract": set(),
    "vlm_targets": {"vlm_contract"},
    "vlm_train": {"vlm_contract"},
    "vlm_export": {"vlm_contract", "vlm_targets", "vlm_train.backbones", "vlm_train.data", "vlm_train.weights"},
    "vlm_profile": {
        *("vlm_contract", "vlm_targets", "vlm_train.backbones", "vlm_train.data", "vlm_export.tensorrt"),
    },
    "vlm_report": {"vlm_contract", "vlm_targets", "vlm_profile"},
}


def modules(stage: str) -> list[Path]:
    return sorted((ROOT / stage / f"vlm_{stage}").rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_names(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            names |= {f"{module}.{alias.name}" for alias in node.names} if module.count(".") == 0 else {module}
    return {name for name in names if name.startswith("vlm_")}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_folder_is_a_source_root_and_no_package(stage: str) -> None:
    assert not (ROOT / stage / "__init__.py").exists()
    assert (ROOT / stage / f"vlm_{stage}" / "__init__.py").exists()


def test_the_standard_librarys_profile_is_not_shadowed_from_the_repository_root() -> None:
    code = (
        "import cProfile, profile; assert 'site-packages' not in profile.__file__; assert hasattr(profile, 'Profile')"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("stage", STAGES)
def test_imports_run_one_way(stage: str) -> None:
    own = f"vlm_{stage}"
    allowed = MAY_IMPORT[own] | {own}
    for path in modules(stage):
        for name in imported_names(path):
            assert any(name == root or name.startswith(f"{root}.") for root in allowed), f"{path} imports {name}"


def test_the_contract_needs_the_standard_library_only() -> None:
    for path in modules("contract"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                roots = {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                roots = {(node.module or "").partition(".")[0]}
            else:
                continue
            assert roots <= sys.stdlib_module_names | {"vlm_contract"}, path


def test_torch_free_packages_import_without_torch() -> None:
    names = [module_name(path) for stage in TORCH_FREE for path in modules(stage) if path.name != "__main__.py"]
    code = f"import sys, importlib; sys.modules['torch'] = None\nfor name in {names!r}: importlib.import_module(name)"
    subprocess.run([sys.executable, "-c", code], check=True)


def is_module(node: ast.ImportFrom, name: ast.alias) -> bool:
    return importlib.util.find_spec(f"{node.module}.{name.name}") is not None


@pytest.mark.parametrize("script", sorted((ROOT / "scripts").glob("*.py")), ids=lambda path: path.name)
def test_what_a_script_takes_from_us_is_there(script: Path) -> None:
    """Nobody runs a benchmark between two releases: this is what else would break it in silence."""
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vlm_"):
            module = importlib.import_module(str(node.module))
            missing = [name.name for name in node.names if not (hasattr(module, name.name) or is_module(node, name))]
            assert not missing, f"{script.name} imports {missing} from {node.module}"
