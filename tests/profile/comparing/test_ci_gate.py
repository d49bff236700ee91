"""What docs/ci-gate.md tells people to type is taken by the commands, and what it says of them is so."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from vlm_profile.__main__ import parser
from vlm_profile.comparing.budgets import budgets_from
from vlm_profile.comparing.compare import CLAIM_PERCENT, CLAIM_PERCENT_SHARED, UNLIKE
from vlm_profile.comparing.gate import compare_parser, may_differ_from, rule_from
from vlm_profile.protocol import FULL

TEXT = (Path(__file__).parents[3] / "docs" / "ci-gate.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """The words of every command of ours in a block of code, without what its output is piped into."""
    joined = "\n".join(block for _, block in BLOCKS).replace("\\\n", " ")
    lines = [line.strip() for line in joined.splitlines() if line.strip().startswith("vlm-profile ")]
    return [shlex.split(line.rstrip("|")) for line in lines]


@pytest.mark.parametrize("words", [w for w in commands() if w[1] == "compare"], ids=" ".join)
def test_every_comparison_is_taken(words: list[str]) -> None:
    options = compare_parser().parse_args(words[2:])
    assert [rule_from(text) for text in options.fail_if]
    assert may_differ_from(options.unlike) <= UNLIKE.keys()


@pytest.mark.parametrize("words", [w for w in commands() if w[1] != "compare"], ids=" ".join)
def test_every_measuring_command_is_taken(words: list[str]) -> None:
    options = parser().parse_args(words[1:])
    assert options.artifact
    budgets_from(options.budget)


def test_the_page_shows_both_and_every_rule_in_its_text_is_one() -> None:
    assert {words[1] == "compare" for words in commands()} == {True, False}
    rules = re.findall(r"`([a-z_0-9]+[<>][+-][^`']+)`", TEXT)
    assert len(rules) >= 4
    for text in rules:
        rule_from(text)


def test_the_limits_in_the_page_are_those_of_the_code() -> None:
    assert f"over {CLAIM_PERCENT:g} %, or {CLAIM_PERCENT_SHARED:g} % on a shared machine" in TEXT
    assert f"wider than ±{FULL.interval_percent:g} %" in TEXT


def test_the_workflow_is_yaml_whose_steps_each_run_or_use_something() -> None:
    yaml: Any = pytest.importorskip("yaml")
    ((_, block),) = [each for each in BLOCKS if each[0] == "yaml"]
    workflow = yaml.safe_load(block)
    steps = workflow["jobs"]["gate"]["steps"]
    assert all(("run" in step) != ("uses" in step) for step in steps)
    assert workflow["jobs"]["gate"]["defaults"]["run"]["shell"] == "bash"
