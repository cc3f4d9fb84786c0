"""The Python examples of the README run as they stand."""

import re
import warnings
from pathlib import Path

import pytest

BLOCKS = re.findall(
    r"```python\n(.*?)```", (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8"), re.S
)


def test_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers", reason="one example needs the extra emergence[hf]")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number, block in enumerate(BLOCKS):  # an example may use names of those above it
            exec(compile(block, f"README example {number}", "exec"), namespace)


def test_there_are_examples() -> None:
    assert len(BLOCKS) == 3
