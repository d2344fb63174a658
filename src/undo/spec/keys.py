"""Content keys and derived seeds: pure functions of what is asked for, never of a path, a time or a worker count."""

import hashlib
import json
from typing import Any


def content_key(content: Any) -> str:
    """12 hexadecimal digits that change exactly when the JSON content does."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def derive_seed(*parts: Any) -> int:
    """A 63-bit seed of its own for every use of randomness, from the study's seed and the name of the use."""
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
