"""Questions are data; what their words say is what their rules do."""

import pytest

from vlm_contract.errors import VlmError
from vlm_report.decision.balance import Balance
from vlm_report.decision.choices import Fastest, MostAccurate
from vlm_report.questions import ALL, BALANCED, EDGE_DEVICE, OWN, QUESTIONS, SMALL_DATA, question_named


def test_each_has_a_name_of_its_own_and_says_what_it_compares() -> None:
    assert len({question.name for question in ALL}) == len(ALL)
    for question in ALL:
        assert question_named(question.name) is question
        assert "accuracy" in question.compares
        for axis in question.choice.axes:
            assert axis.title in question.compares


def test_what_is_asked_without_limits_is_all_but_the_users_own() -> None:
    assert [question for question in ALL if question not in QUESTIONS] == [OWN]


def test_the_figures_of_a_rule_stand_in_its_sentence() -> None:
    assert isinstance(EDGE_DEVICE.choice, Fastest) and isinstance(SMALL_DATA.choice, MostAccurate)
    assert isinstance(BALANCED.choice, Balance)
    for question in (EDGE_DEVICE, OWN, SMALL_DATA):
        assert f"within {question.choice.reach:g} point" in question.rule
    assert f"within {BALANCED.choice.reach:g} points of the most accurate" in BALANCED.rule
    latency, size = BALANCED.choice.prices["latency_ms_p50"], BALANCED.choice.prices["model_bytes"]
    assert f"half the latency is worth {latency:g} points" in BALANCED.rule
    assert f"half the file {size:g} point" in BALANCED.rule


def test_a_mistyped_question_is_refused_with_the_nearest() -> None:
    with pytest.raises(VlmError, match="'egde' is no question") as caught:
        question_named("egde")
    assert caught.value.hint == "--question edge"
