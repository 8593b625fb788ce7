"""The peers' own environments: `python -m benchmarks.peers.environments [FOLDER]` makes them.

Unsloth's package asks for GPU libraries that its CPU backend never loads; it is installed without
its dependencies, and those that it needs are listed in `benchmarks/peers/unsloth.txt`.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ALONE = {
    "unsloth": [
        "unsloth==2026.10.9",
        "unsloth_zoo==2026.10.9",
        "torchao==0.18.0",
        "cut-cross-entropy==25.1.1",
    ],
}
PEERS = ("trl", "unsloth")


def make(folder: Path) -> None:
    """Make what is missing or was made for other versions; minutes the first time."""
    for peer in PEERS:
        wanted = (HERE / f"{peer}.txt").read_text() + "\n".join(ALONE.get(peer, []))
        made = folder / peer / "made-for.txt"
        if made.is_file() and made.read_text() == wanted:
            continue
        print(f"making the environment of {peer} in {folder / peer}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder / peer], check=True)
        pip = [folder / peer / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", HERE / f"{peer}.txt"], check=True)
        if peer in ALONE:
            subprocess.run([*pip, "--no-deps", *ALONE[peer]], check=True)
        made.write_text(wanted)


if __name__ == "__main__":
    make(Path(sys.argv[1] if len(sys.argv) > 1 else ".bench"))
