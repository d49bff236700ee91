"""Measuring by `trtexec`, which times its own loop: here on this machine, and alike on a board over SSH."""
