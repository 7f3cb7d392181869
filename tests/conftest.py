"""What holds for every test: few threads; property tests draw the same examples each run."""

import os

import pytest
import torch
from hypothesis import HealthCheck, settings

import keras_on_torch  # noqa: F401  # pyright: ignore[reportUnusedImport]

# More threads only fight over small matrices. torch has heeded OMP_NUM_THREADS where it is set.
if "OMP_NUM_THREADS" not in os.environ:
    torch.set_num_threads(2)

# No deadline: the first example of a test pays for imports and compilation.
settings.register_profile(
    "ci",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
# HYPOTHESIS_PROFILE=explore looks for new failures: other examples each run.
settings.register_profile("explore", settings.get_profile("ci"), derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write the expected texts in tests/golden/ anew; read their diff before committing it",
    )
