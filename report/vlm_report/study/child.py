"""Becomes the command of a step, and dies with the study that started it."""

import os
import sys

from vlm_contract.processes import die_with

if __name__ == "__main__":
    die_with(int(sys.argv[1]))  # a new program does not change that: see prctl(2), PR_SET_PDEATHSIG
    os.execv(sys.argv[2], sys.argv[2:])
