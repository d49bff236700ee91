"""A study's TOML file, read: what it leaves out, and where in it something is wrong."""

import re
import sys
from pathlib import Path
from typing import Any

from vlm_contract.codec import FieldError, decode
from vlm_contract.errors import VlmError
from vlm_contract.files import read_regular_file
from vlm_report.study.checks import check_matrix
from vlm_report.study.matrix import Matrix

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE_LIMIT_BYTES = 1 << 20
_DEFAULTS: dict[str, dict[str, Any]] = {
    "train": {"samples": [], "seeds": [0], "floors": [], "options": {}, "override": []},
    "export": {"formats": ["onnx"], "precisions": ["fp32", "fp16"], "options": {}},
    "profile": {
        "targets": ["host"],
        "batches": [1, 8],
        "runtimes": ["auto"],
        "hosts": {},
        "options": {},
        "samples": [],
        "seeds": [],
    },
    "constraints": {"require": []},
    "cost": {"per_cpu_hour": {"absent": "not given"}, "per_gpu_hour": {"absent": "not given"}, "currency": ""},
}
_NONE: dict[str, dict[str, Any]] = {
    "export": {"formats": []},
    "profile": {"targets": []},
}  # what a table that is not there stands for


def matrix_from_file(path: Path) -> Matrix:
    """Read and check a study file. Raises VlmError naming the file, the line, the key, and the nearest right word."""
    text = _text(path)
    try:
        matrix: Matrix = decode(Matrix, _with_defaults(tomllib.loads(text)))
        check_matrix(matrix)
    except FieldError as error:
        field, _, problem = str(error).partition(": ")
        raise VlmError(f"{path}{_line_of(text, field)}: {field}: {problem}.", hint=f"mend {field} in {path}") from None
    except (ValueError, RecursionError) as error:
        raise VlmError(f"{path} is no TOML: {error}.", hint=f"mend {path}") from None
    return matrix


def _text(path: Path) -> str:
    try:
        return read_regular_file(path, limit_bytes=FILE_LIMIT_BYTES).decode()
    except UnicodeDecodeError:
        raise VlmError(f"{path} is no text; expected a study in TOML.", hint="docs/study.md") from None


def _with_defaults(document: dict[str, Any]) -> dict[str, Any]:
    """The document with what it may leave out; what is no table stays, and is refused by its type."""
    whole = dict(document)
    for table, defaults in _DEFAULTS.items():
        given = document.get(table, _NONE.get(table, None if table == "train" else {}))
        if isinstance(given, dict):
            whole[table] = {**defaults, **given}
    return whole


def _line_of(text: str, field: str) -> str:
    """`, line N` of a field such as `train.models[1]`: of its key, else of its table; empty where neither is found."""
    names = re.sub(r"\[\d+\]", "", field).split(".")
    found, table = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line):
            table = header[1]
            found = number if table == ".".join(names) or (not found and table == names[0]) else found
        key = re.match(r"""\s*["']?([\w-]+)["']?\s*=""", line)
        path = [*filter(None, table.split(".")), key[1]] if key else []
        if path and names[: len(path)] == path:
            return f", line {number}"
    return f", line {found}" if found else ""
