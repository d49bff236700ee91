"""A data folder of the test's own, and folders of small images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakeFolder = Callable[..., Path]


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "data"
    monkeypatch.setenv("VLM_DATA", str(folder))
    return folder


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """`parts` of `classes`, each of `count` images that differ from all others."""

    def make(*parts: str, classes: tuple[str, ...] = ("cat", "dog"), count: int = 10, size: int = 9) -> Path:
        random = np.random.RandomState(0)
        for part in parts or ("",):
            for name in classes:
                folder = tmp_path / "pets" / part / name
                folder.mkdir(parents=True)
                for number in range(count):
                    pixels = random.randint(0, 256, (size, size, 3)).astype(np.uint8)
                    Image.fromarray(pixels).save(folder / f"{number:03}.png")
        return tmp_path / "pets"

    return make
