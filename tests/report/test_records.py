"""A measurement belongs to the artifact whose very file was measured."""

import shlex
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest

from vlm_contract.codec import Absent
from vlm_contract.errors import VlmError
from vlm_contract.workspace import Workspace
from vlm_report.records import NOT_MEASURED, records_of


def test_a_measurement_is_joined_by_the_hash_of_the_file(double: SimpleNamespace) -> None:
    one, other = double.manifest("double-one-fp32"), double.manifest("double-two-fp32")
    entries = double.records(double.measurement("double-two-fp32"), manifests=(one, other)).entries()
    assert [(entry.name, entry.manifest, entry.standing) for entry in entries] == [
        ("double-one-fp32", one, "not measured"),
        ("double-two-fp32", other, "valid"),
    ]


def test_a_measurement_of_an_older_file_lends_nothing_to_the_new_one(double: SimpleNamespace) -> None:
    old = double.manifest("double-old-fp32")
    new = double.manifest("double-fp32", files=old.files)
    fresh, stale = double.records(double.measurement("double-fp32"), manifests=(new,)).entries()
    assert (fresh.manifest, fresh.measurement) == (new, NOT_MEASURED)
    assert isinstance(stale.manifest, Absent)
    assert "exported again" in stale.manifest.reason


def test_the_command_that_measures_again_names_the_row(double: SimpleNamespace) -> None:
    name = "double $(reboot)-fp32"
    measurement = double.measurement(name, batch=8, verdicts=(double.contended,))
    records = double.records(measurement, manifests=(double.manifest(name),))
    (entry,) = records.entries()
    words = shlex.split(records.next_command(entry))
    assert words[:5] == ["vlm-profile", "--target", "host", "--again", "--artifact"]
    assert words[5:6] == [f"workspace/artifacts/{name}"]
    assert words[6:] == ["--runtime", "double-runtime", "--batch", "8", "--threads", "2"]


def test_a_refused_artifact_is_to_be_exported_again(double: SimpleNamespace) -> None:
    records = double.records(manifests=(double.manifest("double-fp16", refused=("parity",)),))
    (entry,) = records.entries()
    assert entry.standing == "refused"
    assert records.next_command(entry).startswith("vlm-export --ckpt double-net-digits-1437-s0")


def test_an_empty_workspace_says_what_to_type(workspace: Workspace) -> None:
    with pytest.raises(VlmError, match="holds no run") as caught:
        records_of(workspace)
    assert caught.value.hint.startswith("vlm-train")


def test_an_artifact_of_weights_that_were_trained_again_is_a_problem(
    workspace: Workspace, keep: Callable[..., None], double: SimpleNamespace
) -> None:
    keep(double.card(), double.manifest("double-fp32"), double.manifest("double-fp16", checkpoint_sha256="0" * 64))
    (problem,) = records_of(workspace).problems
    assert problem.startswith("double-fp16 holds other weights")
    assert "vlm-export --ckpt double-net-digits-1437-s0" in problem


def test_records_of_doubles_and_emulators_are_in_no_report(
    workspace: Workspace, keep: Callable[..., None], double: SimpleNamespace
) -> None:
    real = double.measurement("double-fp32")
    keep(
        double.manifest("double-fp32"),
        real,
        double.measurement("double-a", runtime=replace(real.runtime, name="selftest:sleep")),
        double.measurement("double-b", device=replace(real.device, name="Jetson Orin Nano (emulator)")),
    )
    records = records_of(workspace)
    assert [entry.name for entry in records.entries()] == ["double-fp32"]
    assert [("selftest:sleep" in each, "emulator" in each) for each in records.problems] == [
        (True, False),
        (False, True),
    ]


def test_of_these_alone_no_report_is_made(
    workspace: Workspace, keep: Callable[..., None], double: SimpleNamespace
) -> None:
    real = double.measurement("double-a")
    keep(replace(real, runtime=replace(real.runtime, name="selftest:sleep")))
    with pytest.raises(VlmError, match=r"holds no run, artifact or measurement .* is left out: selftest:sleep is a"):
        records_of(workspace)


def test_rows_that_say_nothing_of_threads_have_a_place_too(double: SimpleNamespace) -> None:
    setup = replace(double.measurement("double").setup, threads=Absent("a reported figure"))
    records = double.records(double.measurement("double"), double.measurement("double", setup=setup))
    assert next(entry.measurement.setup for entry in records.entries()) == setup


def test_a_row_has_the_label_of_the_card_of_the_very_weights(
    workspace: Workspace, keep: Callable[..., None], double: SimpleNamespace
) -> None:
    keep(
        double.card(backbone=double.backbone("double_net", "small")),
        double.manifest("double-a-fp32"),
        double.manifest("double-b-fp32", checkpoint_sha256="0" * 64),
        double.measurement("double-a-fp32"),
        double.measurement("double-unknown"),
    )
    models = {entry.name: entry.model for entry in records_of(workspace).entries()}
    assert models == {
        "double-a-fp32": "double_net (small)",
        "double-b-fp32": "double_net",
        "double-unknown": "double-unknown",
    }
