"""Other people's programs, each in a folder of its own under `.conformance/`.

They come from where this machine's pip and npm are set up to get things, and are kept: a second
run needs no network.
"""

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".conformance"
_OWN_SETTINGS = ("OPENAI_", "TUNESMITH_", "LITELLM_", "CLOUDFLARE_", "WRANGLER_", "CF_")


def python_with(name: str, *requirements: str) -> Path:
    """The interpreter of an environment that has these requirements and nothing else."""
    with _made_once(name, *requirements) as folder:
        if folder is not None:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            pip = [folder / "bin" / "pip", "--disable-pip-version-check", "install", "-qq"]
            subprocess.run([*pip, *requirements], check=True)
    return CACHE / name / "bin" / "python"


def sdist_of(name: str, version: str) -> Path:
    """The unpacked sources of a release, with its tests."""
    with _made_once(f"{name}-{version}-sources", version) as folder:
        if folder is not None:
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download"]
            wanted = ["--no-deps", "--no-binary", ":all:", f"{name}=={version}"]
            subprocess.run([*pip, "-qq", "--dest", folder, *wanted], check=True)
            with tarfile.open(folder / f"{name}-{version}.tar.gz") as archive:
                archive.extractall(folder, filter="data")
    return CACHE / f"{name}-{version}-sources" / f"{name}-{version}"


def node_modules_with(name: str, *requirements: str) -> Path:
    """A folder in which a script finds these packages."""
    with _made_once(name, *requirements) as folder:
        if folder is not None:
            folder.mkdir(parents=True)
            (folder / "package.json").write_text('{"private": true}')
            npm = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"]
            subprocess.run([*npm, *requirements], cwd=folder, check=True)
    return CACHE / name


def environment(**more: str) -> dict[str, str]:
    """This process's, without what would lead a client to another server or change its ways."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_OWN_SETTINGS)}
    kept.pop("PYTHONPATH", None)
    return {**kept, **more}


@contextmanager
def _made_once(name: str, *contents: str) -> Iterator[Path | None]:
    """The folder to fill, or None where it was filled before; half of one is made again."""
    folder, stamp = CACHE / name, CACHE / f"{name}.made"
    wanted = "\n".join(contents)
    if stamp.is_file() and stamp.read_text() == wanted:
        yield None
        return
    stamp.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    CACHE.mkdir(exist_ok=True)
    yield folder
    stamp.write_text(wanted)
