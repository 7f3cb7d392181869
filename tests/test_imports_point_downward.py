"""Who may import whom: the layers of the package, and no cycle among the modules of one layer.

Imports inside functions count as well: they hide a cycle, they don't remove it. Imports under
`if TYPE_CHECKING:` don't exist at run time and don't count.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = "unrolled"
SOURCE = Path(__file__).parent.parent / "src" / PACKAGE

# From the bottom up. A module imports from its own layer and from those below it.
CORE = """
    sizes ir steps masking packing walk ops verify serialize locations builder proxy functions
    returned tracer trace interpret latex specs signature rules cell naive passes lower backends
    compiled arguments differentiable padded saved operator_checks operators operators_uneven
    recurrence pickling
"""
LAYERS = (
    {"errors"},
    set(CORE.split()),
    {"cells", "combinators"},
    {"nn"},
    {"data"},
    {"models"},
    {"inspect", "interop"},
    {"train"},
    {"tasks", "experiments"},
    {"cli"},
    # What a user imports and runs; nothing of ours imports these.
    {"__init__", "__main__"},
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}

# Stricter than their place in the order: all that these may import besides themselves.
ONLY = {"data": {"errors"}}

# Installed with an extra only; `import unrolled` must do without.
EXTRAS = (
    "jinja2",
    "jsonargparse",
    "yaml",
    "tqdm",
    "tensorboard",
    "onnx",
    "onnxruntime",
    "keras",
    "lightning",
    "matplotlib",
    "mido",
    "optuna",
    "pandas",
    "pyarrow",
    "scipy",
    "sklearn",
    "statsmodels",
)


def module_name(path: Path, root: Path) -> str:
    """The dotted name inside the package: `passes.hoist`; a package's own file is `passes`."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def imports_of(tree: ast.Module, module: str, modules: set[str], is_package: bool) -> set[str]:
    """Modules of the package that `module` imports, by their dotted names inside the package."""
    found: set[str] = set()
    for node in runtime_nodes(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            targets = [name.split(".", 1) for name in names if name.split(".")[0] == PACKAGE]
            found |= {rest[0] if rest else "__init__" for _, *rest in targets}
        elif isinstance(node, ast.ImportFrom):
            base = absolute_base(node, module, is_package)
            if base is None:
                continue
            for alias in node.names:
                inner = f"{base}.{alias.name}" if base else alias.name
                found.add(inner if inner in modules else base or "__init__")
    return found - {module}


def runtime_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below `node` that run, so not those under `if TYPE_CHECKING:`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        yield child
        yield from runtime_nodes(child)


def absolute_base(node: ast.ImportFrom, module: str, is_package: bool) -> str | None:
    """What stands after `from`, inside the package ("" for its root); None for other packages."""
    name = node.module or ""
    if node.level:
        inside = [] if module == "__init__" else module.split(".")
        up = node.level - (1 if is_package else 0)
        return ".".join([*inside[: len(inside) - up], *filter(None, [name])])
    head, _, rest = name.partition(".")
    return rest if head == PACKAGE else None


def import_graph(root: Path) -> dict[str, set[str]]:
    """Every module under `root` with the modules of ours that it imports."""
    paths = {module_name(path, root): path for path in sorted(root.rglob("*.py"))}
    return {
        name: imports_of(
            ast.parse(path.read_text(encoding="utf-8")),
            name,
            set(paths),
            is_package=path.name == "__init__.py" and name != "__init__",
        )
        for name, path in paths.items()
    }


def violations(graph: dict[str, set[str]]) -> list[str]:
    """One sentence for each import that points upward, and for each module without a layer."""
    found: list[str] = []
    for module, imported in sorted(graph.items()):
        top = module.split(".")[0]
        if top not in LEVEL:
            found.append(f"{module} is in no layer: give it one in {Path(__file__).name}")
            continue
        for other in sorted(imported):
            other_top = other.split(".")[0]
            if LEVEL.get(other_top, -1) > LEVEL[top]:
                found.append(f"{module} imports {other}, which stands above it")
            elif other_top not in {top, *ONLY.get(top, {other_top})}:
                found.append(f"{module} imports {other}, and may import only {ONLY[top]}")
    return found


def test_imports_point_downward() -> None:
    assert violations(import_graph(SOURCE)) == []


def test_imports_have_no_cycle() -> None:
    try:
        TopologicalSorter(import_graph(SOURCE)).prepare()
    except CycleError as error:
        pytest.fail("import cycle: " + " -> ".join(error.args[1]))


def test_the_package_imports_without_its_extras() -> None:
    # None in sys.modules makes an import of that name fail.
    block = "".join(f"sys.modules[{name!r}] = None; " for name in EXTRAS)
    command = [sys.executable, "-W", "error", "-c", f"import sys; {block}import {PACKAGE}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def write_package(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def test_every_form_of_import_is_seen(tmp_path: Path) -> None:
    files = {
        "__init__.py": "from .cell import cell",
        "cell.py": "import unrolled.ir\nimport unrolled.ir as ir, torch\nfrom torch import nn",
        "ir.py": "def late():\n    from unrolled import ops",
        "ops.py": "if TYPE_CHECKING:\n    from unrolled import ir\nfrom .errors import CellError",
        "errors.py": "",
        "passes/__init__.py": "from .hoist import hoist\nfrom . import sink",
        "passes/hoist.py": "from ..ir import Graph\nfrom unrolled.passes.sink import sink",
        "passes/sink.py": "import unrolled\nfrom unrolled import __version__",
    }
    assert import_graph(write_package(tmp_path, files)) == {
        "__init__": {"cell"},
        "cell": {"ir"},
        "ir": {"ops"},
        "ops": {"errors"},
        "errors": set(),
        "passes": {"passes.hoist", "passes.sink"},
        "passes.hoist": {"ir", "passes.sink"},
        "passes.sink": {"__init__"},
    }


def test_violations_are_found() -> None:
    graph = {"ir": {"nn", "errors"}, "data.corpus": {"ir", "data.windows"}, "stray": set[str]()}
    assert violations(graph) == [
        "data.corpus imports ir, and may import only {'errors'}",
        "ir imports nn, which stands above it",
        "stray is in no layer: give it one in test_imports_point_downward.py",
    ]
