"""Compiled loops: the same as the function says, with a folder for the code or without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bookworks.models.compiled import compiled

LOOP = """
def doubled(numbers, found):
    for at, number in enumerate(numbers):
        found[at] = 2 * number
"""


def test_what_no_folder_can_be_found_for_is_compiled_all_the_same() -> None:
    """A function without a file, as in a container that can write nowhere."""
    from numba import njit

    made: dict = {}
    exec(LOOP, made)
    with pytest.raises(RuntimeError, match="cannot cache"):
        njit(cache=True)(made["doubled"])
    found = np.zeros(3)
    compiled(made["doubled"])(np.arange(3.0), found)
    assert found.tolist() == [0.0, 2.0, 4.0]


def test_numba_is_loaded_by_the_first_call_alone() -> None:
    code = "import sys, bookworks.models.bundle, bookworks.models.trees; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
def test_damaged_code_of_an_earlier_process_is_not_needed(tmp_path: Path, ending: str) -> None:
    (tmp_path / "loops.py").write_text(f"from bookworks.models.compiled import compiled\n\n\n@compiled{LOOP}")
    code = "import numpy as np, loops; found = np.zeros(2); loops.doubled(np.ones(2), found); print(found.tolist())"
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "kept"), "PYTHONPATH": os.pathsep.join(sys.path)}

    def asked() -> str:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
        )
        return done.stdout.strip()

    assert asked() == "[2.0, 2.0]"
    (kept,) = (tmp_path / "kept").rglob(f"*.{ending}")
    kept.write_bytes(kept.read_bytes()[:9])
    assert asked() == "[2.0, 2.0]"
