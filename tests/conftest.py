"""A shell that starts the suite in the background has it ignore SIGINT, and all that it starts too."""

import signal

signal.signal(signal.SIGINT, signal.default_int_handler)
