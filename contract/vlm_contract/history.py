"""What a run's epochs scored: `history.jsonl`, one line an epoch."""

import json
from pathlib import Path

from vlm_contract.card import Scores
from vlm_contract.codec import RECORD_LIMIT_BYTES, decode, refuse_constant
from vlm_contract.errors import VlmError
from vlm_contract.files import read_regular_file
from vlm_contract.workspace import HISTORY_FILE


def history_of(folder: Path) -> tuple[Scores, ...]:
    """The epochs of the run in `folder`; none where no epoch has ended. Raises VlmError for a damaged history."""
    path = folder / HISTORY_FILE
    if not path.exists():
        return ()
    text = read_regular_file(path, limit_bytes=RECORD_LIMIT_BYTES)
    try:
        lines = text.decode().splitlines()
        return tuple(decode(Scores, json.loads(line, parse_constant=refuse_constant)) for line in lines)
    except (ValueError, RecursionError) as error:
        raise VlmError(f"{path} is damaged: {error}.", hint="vlm-train --overwrite") from None
