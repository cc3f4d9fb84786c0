"""The names of §11 are there, and importing the package stays light."""

import subprocess
import sys

import pytest

import emergence

NAMES = [
    "local_lipschitz",
    "empirical_lipschitz",
    "lipschitz_bound",
    "lip_power_rate",
    "log_lipschitz",
    "classify_block",
    "iterate_depth",
    "krasnoselskii_mann",
    "fixed_point",
    "covering_radius",
    "covering_number",
    "covering_number_bound",
    "generalization_bound",
    "probe_layers",
    "LimitLaw",
    "ChinchillaLaw",
    "KaplanLaw",
    "PowerStepLaw",
    "fit_scaling_law",
    "compare_laws",
    "optimal_allocation",
    "effective_depth",
    "SolvableLimitModel",
    "TinyGPT",
    "LoopedGPT",
    "GPTConfig",
    "LitLanguageModel",
    "CharDataModule",
    "BytesDataModule",
    "TaskDataModule",
    "UnboundedLipschitzError",
    "ExactRateBlock",
    "TanhBlock",
    "RotationBlock",
    "NegIdentity",
    "ProjectionBlock",
    "AveragedBlock",
    "ConvexPotentialBlock",
    "SpectralLinear",
    "OrthogonalLinear",
    "GroupSort2",
    "InjectedBlock",
]


@pytest.mark.parametrize("name", sorted({*NAMES, *emergence.__all__}))
def test_name_resolves(name):
    assert callable(getattr(emergence, name)) or name.isupper()


def test_names_of_the_stub_are_unique():
    assert len(emergence.__all__) == len(set(emergence.__all__)) >= len(NAMES)


def test_importing_the_package_imports_no_torch():
    code = "import sys, emergence; print('torch' in sys.modules or 'lightning' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_layers_import_no_lightning():
    code = "import sys; from emergence import TinyGPT, local_lipschitz, lipschitz_bound; print('lightning' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
