"""Charts within a page: their definitions as JSON, their drawings side by side."""

import json
import re
from typing import Any


def json_in_html(value: Any) -> str:
    """JSON that no parser of HTML takes for the end of its script."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def with_own_names(svg: str, prefix: str) -> str:
    """The drawing with names that no other has: vl-convert counts clips and gradients from 0 in each."""
    named = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', svg)
    return re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", named)
