"""Vega, Vega-Lite and Vega-Embed as one script, packed so that a page can carry them and open them when asked."""

import base64
import gzip
import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vlm_contract.errors import VlmError
from vlm_contract.files import write_whole

SNIPPET = "window.vegaEmbed = vegaEmbed;"


@dataclass(frozen=True)
class Packed:
    """A script for a page whose policy names the scripts that may run."""

    text: str  # gzip, in base64
    source: str  # by which a policy lets the unpacked script run


def packed_vega() -> Packed:
    """Of the installed vl-convert. Its script is kept in the user's cache: making it takes longer than a report."""
    script = _script()
    return Packed(base64.b64encode(gzip.compress(script, 9, mtime=0)).decode(), hash_of(script))


def hash_of(script: bytes) -> str:
    """The source expression by which a Content-Security-Policy lets this script run."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"


def _script() -> bytes:
    from importlib.metadata import version

    import vl_convert

    kept = cache_folder() / f"vega-of-vl-convert-{version('vl-convert-python')}.js"
    try:
        return kept.read_bytes()
    except OSError:
        script: str = vl_convert.javascript_bundle(SNIPPET)
    with suppress(OSError, VlmError):  # a cache that cannot be written costs time, no more
        write_whole(kept, script)
    return script.encode()


def cache_folder() -> Path:
    """`vlm-edge` in the user's cache, as the XDG Base Directory Specification names it."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "vlm-edge"
