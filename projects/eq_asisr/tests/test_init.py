import subprocess
import sys

import pytest

import eq_asisr


def test_importing_the_package_imports_no_torch():
    program = "import sys, eq_asisr; sys.exit('torch' in sys.modules or 'lightning' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


NEED_LIGHTNING = {"ASISRData", "LitASISR"}


@pytest.mark.filterwarnings("default")  # Lightning warns about itself while it is imported
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in NEED_LIGHTNING else [])
        for name in sorted(eq_asisr.__all__)
    ],
)
def test_public_names_exist(name):
    assert getattr(eq_asisr, name).__name__ == name
