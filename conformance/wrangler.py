"""Cloudflare's wrangler, alone in a folder of its own, asked without a terminal or a network."""

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from conformance.environments import environment

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, kw_only=True)
class Said:
    """Its exit code says little: creating a finetune ends with 0 whatever happens."""

    code: int
    out: str
    err: str


class Wrangler:
    def __init__(self, modules: Path, scratch: Path, base_url: str) -> None:
        self._program = modules / "node_modules" / ".bin" / "wrangler"
        self._here = scratch / "empty"  # no configuration to be found
        self._here.mkdir(parents=True)
        self._environment = environment(
            CLOUDFLARE_API_BASE_URL=base_url,
            HOME=str(scratch),
            XDG_CONFIG_HOME=str(scratch / ".config"),
            WRANGLER_CACHE_DIR=str(scratch / "cache"),
            WRANGLER_LOG_PATH=str(scratch / "logs"),
            WRANGLER_SEND_METRICS="false",
            WRANGLER_SEND_ERROR_REPORTS="false",
            WRANGLER_HIDE_BANNER="true",
            CI="1",
            NO_COLOR="1",
            FORCE_COLOR="0",
        )

    def __call__(self, *words: str | Path, **credentials: str) -> Said:
        """`credentials` are the endings of CLOUDFLARE_… variables: api_token, account_id."""
        named = {f"CLOUDFLARE_{name.upper()}": value for name, value in credentials.items()}
        done = subprocess.run(
            [self._program, *words],
            cwd=self._here,
            env=self._environment | named,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        out, err = _plain((done.stdout, done.stderr))
        return Said(code=done.returncode, out=out, err=err)


def _plain(texts: Iterable[str]) -> list[str]:
    return [_COLOUR.sub("", text) for text in texts]
