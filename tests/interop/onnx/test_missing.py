"""Without the extra, one line says what to install."""

import subprocess
import sys


def test_without_onnx() -> None:
    code = "import sys; sys.modules['onnx'] = None; import unrolled.interop.onnx"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        "ImportError: unrolled.interop.onnx needs the package onnx: pip install 'unrolled[onnx]'"
    )
