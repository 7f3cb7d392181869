"""What the tests of the CPU backend share: a C compiler, without which they are skipped."""

import pytest

from unrolled.backends.cpu.build import compiler


@pytest.fixture(autouse=True)
def _compiler() -> None:  # pyright: ignore[reportUnusedFunction]
    if compiler() is None:
        pytest.skip("no C compiler here")
