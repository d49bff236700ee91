"""What the libraries that export would print, and what they would spend on looking for garbage."""

import gc
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout


@contextmanager
def silenced() -> Iterator[None]:
    """Keep what they print, warn and log off the terminal; what goes wrong is raised."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


@contextmanager
def uncollected() -> Iterator[None]:
    """Let Python not look for garbage while millions of small objects come that stay: a tenth of an export."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
