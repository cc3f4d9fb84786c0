"""The Python examples of the README run as they stand, and its commands exist."""

import re
import warnings
from pathlib import Path

import pytest

from gmaplatent.train import COMMANDS
from tenfold.cli import SUBCOMMANDS
from tenfold.presets import find_presets

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_examples_run(number: int) -> None:
    namespace: dict[str, object] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for block in BLOCKS[: number + 1]:  # an example may use names of those above it
            exec(compile(block, f"README example {number}", "exec"), namespace)


def test_there_are_examples() -> None:
    assert len(BLOCKS) >= 2


def test_commands_and_presets_exist() -> None:
    called = re.findall(r"^uv run gmaplatent (\w+)", README, re.M)
    assert called
    assert set(called) <= {*COMMANDS, *SUBCOMMANDS}
    named = re.findall(r"--config (\w+)", README)
    assert named
    assert set(named) <= set(find_presets("gmaplatent"))
