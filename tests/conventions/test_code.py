"""Rules of the house that a machine can check."""

import subprocess
import sys
from pathlib import Path

import pytest

import tunesmith

PACKAGE = Path(tunesmith.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES = 400
HEAVY = ("torch", "transformers", "peft")


def test_imports_point_the_way_that_the_architecture_says() -> None:
    command = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([command], cwd=PACKAGE.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_server_worker_and_command_line_start_without_torch() -> None:
    """So that they start in a second, on machines that have no torch."""
    program = (
        "import sys, tunesmith.app, tunesmith.cli.main, tunesmith.worker.loop\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    command = [sys.executable, "-c", program]
    assert subprocess.check_output(command, text=True).strip() == "[]"


@pytest.mark.parametrize(
    "package",
    sorted({path.parent for path in MODULES}),
    ids=lambda path: str(path.relative_to(PACKAGE.parent)),
)
def test_packages_hold_no_code_of_their_own(package: Path) -> None:
    """But for the dialects, where `__init__` is the one place that names a prefix and builds."""
    if PACKAGE / "dialects" in (package, *package.parents) or "migrations" in package.parts:
        return
    assert (package / "__init__.py").read_text() == ""


@pytest.mark.parametrize(
    "module",
    [path for path in MODULES if path.name != "__init__.py"],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_modules_are_short_and_say_what_they_are_for(module: Path) -> None:
    text = module.read_text()
    assert len(text.splitlines()) <= MAX_LINES
    assert "migrations" in module.parts or module.name == "__main__.py" or text.startswith('"""')


def test_only_the_command_line_prints() -> None:
    printing = [
        str(path.relative_to(PACKAGE))
        for path in MODULES
        if PACKAGE / "cli" not in path.parents
        and any(line.lstrip().startswith("print(") for line in path.read_text().splitlines())
    ]
    assert printing == []


def test_no_module_is_called_by_a_name_that_says_nothing() -> None:
    empty = {"utils", "util", "common", "helpers", "core", "manager", "base", "misc"}
    assert [path for path in MODULES if path.stem in empty or path.parent.name in empty] == []
