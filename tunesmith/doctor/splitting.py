"""Which rows are held out: decided by what a row asks, so that no question is on both sides."""

import json
from hashlib import blake2b

from tunesmith.doctor.rows import content
from tunesmith.domain.errors import InvalidTrainingData


def is_held_out(raw: bytes, share: float, seed: int) -> bool:
    """Whether a line goes to the validation file.

    By a digest of what is asked and the seed, so nothing needs to be remembered. A row whose form
    is wrong is judged by its bytes.
    """
    digest = blake2b(_asked(raw), digest_size=8, key=str(seed).encode())
    return int.from_bytes(digest.digest()) < share * 2**64


def _asked(raw: bytes) -> bytes:
    try:
        asked = content(json.loads(raw)).asked
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration, InvalidTrainingData):
        return raw.strip()
    return asked.encode(errors="surrogatepass") or raw.strip()
