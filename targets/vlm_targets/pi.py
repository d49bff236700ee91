"""What `vcgencmd`, the program that asks a Raspberry Pi's firmware, says.

https://www.raspberrypi.com/documentation/computers/os.html#vcgencmd
"""

import re


def throttled_in(text: str) -> int:
    """The word of `vcgencmd get_throttled`: bits 0 to 3 are now, 16 to 19 since it was started.

    Raises ValueError where the program answers with an error in words, as to a user who may not ask.
    """
    found = re.fullmatch(r"throttled=0x([0-9a-fA-F]{1,8})", text.strip())
    if not found:
        raise ValueError(f"{text[:80]!r} is no answer of vcgencmd get_throttled")
    return int(found[1], 16)
