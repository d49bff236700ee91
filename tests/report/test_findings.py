"""Sentences that follow from frames: right with one record, with several, and with none."""

from types import SimpleNamespace

from vlm_contract.codec import Absent
from vlm_report.findings import TITLES, Finding, findings_of
from vlm_report.frames import frames_of


def findings(double: SimpleNamespace, *records: object) -> tuple[Finding, ...]:
    return findings_of(frames_of(double.all(*records)))


def said(double: SimpleNamespace, section: str, *records: object) -> list[str]:
    return [finding.text for finding in findings(double, *records) if finding.section == section]


def seeds(
    double: SimpleNamespace, model: str, *validation: float, samples: int = 5000, gap: float = 1.0
) -> list[object]:
    return [double.trained(model, samples, seed, percent, gap) for seed, percent in enumerate(validation)]


def test_no_record_gives_no_sentence_but_that_nothing_is_decided(double: SimpleNamespace) -> None:
    found = findings(double)
    assert [finding.section for finding in found] == ["families", "families"]
    assert all("undecided" in finding.text and not finding.record for finding in found)


def test_what_a_model_reaches_is_said_with_its_seeds(double: SimpleNamespace) -> None:
    sentence = "net reaches 53.4 % test accuracy on doubles with 5,000 samples (3 seeds: 52.9–53.8)."
    assert sentence in said(double, "performance", *seeds(double, "net", 53.9, 54.5, 54.8))


def test_without_test_images_the_accuracy_is_named_as_validation(double: SimpleNamespace) -> None:
    card = double.trained("net", test_accuracy_percent=Absent("no test part"))
    assert said(double, "performance", card) == [
        "net reaches 60.00 % validation accuracy on doubles with 5,000 samples (one seed)."
    ]


def test_one_model_alone_is_the_best_of_nothing(double: SimpleNamespace) -> None:
    assert not any("best of" in text for text in said(double, "performance", double.trained("net")))


def test_the_best_performer_is_named_with_its_ties(double: SimpleNamespace) -> None:
    cards = [*seeds(double, "one", 60, 62), *seeds(double, "two", 59, 60.5), *seeds(double, "three", 30, 31)]
    best = said(double, "performance", *cards)[0]
    assert best == (
        "On doubles with 5,000 samples, one is the best of 3: 61.0 % validation accuracy (2 seeds: 60.0–62.0), "
        "and is tied with two."
    )


def test_one_seed_is_a_warning_beside_the_best(double: SimpleNamespace) -> None:
    best = said(double, "performance", double.trained("one", validation=70.0), *seeds(double, "two", 50, 51))[0]
    assert best.endswith("1 of them has one seed: a small difference may be chance.")


def test_heavy_overfitting_is_said_with_both_accuracies(double: SimpleNamespace) -> None:
    text = said(double, "models", double.trained("net", validation=51.58, gap=47.94))
    assert text == [
        "Heavy overfitting on doubles with 5,000 samples: 99.52 % training against 51.58 % validation accuracy, "
        "47.94 points (one seed). Stronger regularisation or more data has room to help."
    ]


def test_little_overfitting_is_no_finding(double: SimpleNamespace) -> None:
    assert said(double, "models", double.trained("net", gap=2.0)) == []


def test_more_samples_gain_so_many_points(double: SimpleNamespace) -> None:
    cards = [*seeds(double, "net", 50, 51), *seeds(double, "net", 60, 61, samples=10_000)]
    assert said(double, "models", *cards) == [
        "From 5,000 to 10,000 samples of doubles, validation accuracy gains 10.0 points; the overfitting gap goes from "
        "1.0 to 1.0 points."
    ]


def test_what_a_document_says_is_marked_as_reported(double: SimpleNamespace) -> None:
    found = findings(double, double.reported_run(), double.reported_model(), double.reported_measurement())
    with_figures = [finding for finding in found if finding.evidence]
    assert {finding.evidence for finding in with_figures} == {"reported"}
    assert all(finding.text.endswith("This is reported, not measured.") for finding in with_figures)


def test_a_time_names_the_device_and_the_speed(double: SimpleNamespace) -> None:
    (text,) = said(double, "times", double.trained("net"))
    assert text == (
        "net took 2 min 01 s for 40 epochs on doubles with 5,000 samples at 6.4 iterations/s, 812 images/s "
        "(double CPU)."
    )


def test_a_refused_artifact_is_counted_and_named(double: SimpleNamespace) -> None:
    refused = double.manifest("double-fp16", refused=("the accuracy drops by 4 points",))
    text = said(double, "export", double.manifest("double-fp32"), refused)
    assert text == [
        "1 of 2 exported artifacts passed every check; none lost accuracy.",
        "double-fp16 was refused: the accuracy drops by 4 points.",
    ]


def test_estimates_are_judged_by_what_was_measured_later(double: SimpleNamespace) -> None:
    text = said(double, "export", double.estimate("double-fp32", 5.0), double.measurement("double-fp32", 4.5))
    assert text == [
        "Of 1 estimate that a measurement superseded, 1 had it within the interval, which is to cover 90 %; the ratios "
        "to what was measured go from 1.11 to 1.11."
    ]


def test_the_next_steps_have_commands(double: SimpleNamespace) -> None:
    cards = double.trained("one"), double.trained("one", 10_000), double.trained("two")
    steps = [finding for finding in findings(double, *cards) if finding.section == "next"]
    missing = next(step for step in steps if step.text == "Train two on doubles with 10,000 samples.")
    assert missing.command.startswith("vlm-train --model two")
    assert any(step.command == "vlm-export --ckpt two-doubles-5000-s0" for step in steps)


def test_every_finding_with_figures_has_records_behind_it(double: SimpleNamespace) -> None:
    cards = [*seeds(double, "resnet50", 60, 61, gap=30), *seeds(double, "vit_base_patch16_224", 40, 41, samples=10_000)]
    artifact = double.manifest("double-fp32"), double.measurement("double-fp32")
    found = findings(double, *cards, *artifact, double.reported_run())
    assert {finding.section for finding in found} <= set(TITLES)
    for finding in found:
        assert bool(finding.record) == bool(finding.evidence), finding


def test_a_speed_that_cannot_be_is_a_note_and_no_next_step(double: SimpleNamespace) -> None:
    found = findings(double, double.reported_measurement(verdicts=(double.contended,)))
    (note,) = [finding for finding in found if finding.section == "general"]
    assert note.text == "What a document says of the speed of Double-Net on gtx1660ti is invalid: contended."
    assert not [finding for finding in found if finding.section == "next"]


def test_a_document_s_model_is_no_rival_of_measured_ones(double: SimpleNamespace) -> None:
    cards = *seeds(double, "one", 40, 41), *seeds(double, "two", 30, 31)
    told = said(double, "performance", *cards, double.reported_run(data="doubles", validation=99.0))
    best = [text for text in told if "best of" in text]
    assert [text.partition(",")[0] for text in best] == ["On doubles with 5"]
    assert "one is the best of 2" in best[0]


def test_many_artifacts_without_a_row_are_one_next_step(double: SimpleNamespace) -> None:
    manifests = [double.manifest(f"double-{number}-fp32") for number in range(5)]
    steps = [finding for finding in findings(double, *manifests) if finding.section == "next"]
    (together,) = [step for step in steps if "measured nowhere" in step.text]
    assert together.text.startswith("5 artifacts are measured nowhere: ")
    assert together.text.endswith("and 2 more.")
    assert together.command == "vlm-profile --target host"
    assert not [step for step in steps if "--artifact" in step.command]
    alone = [finding for finding in findings(double, *manifests[:2]) if finding.section == "next"]
    assert len([step for step in alone if "--artifact" in step.command]) == 2
