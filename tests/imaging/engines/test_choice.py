from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest
import torch

from node.domain.engine import EngineEvidence, Trial
from node.domain.model_card import EngineChoice
from node.errors import Failed
from node.imaging import engines
from node.imaging.bundle.plan import Plan
from node.imaging.engines import Way, choice, measuring, ways
from node.imaging.engines.choice import choose, standing
from node.imaging.engines.measuring import Subject, dice, measure
from node.imaging.engines.ways import aot
from node.imaging.engines.windows import walk
from node.imaging.pipelines import Fitting
from node.store import engine_evidence
from tests.fakes import card
from tests.imaging.engines.small import PLAN, Bright, network, reader, volume

CPU = torch.device("cpu")
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def evidence() -> EngineEvidence:
    subject = Subject(model_digest="d" * 64, network=Bright(), plan=PLAN, device=CPU)
    return measure(subject, 1, reader(volume()), NOW)


def fitting(folder: Path, **changes: object) -> Fitting:
    given = Fitting(card=card(), folder=folder, weights={}, device="cpu", model_digest="d" * 64, evidence=folder)
    return replace(given, **changes)


@pytest.mark.parametrize("name", engines.names())
def test_an_engine_offers_what_is_asked_of_it(name: str):
    engine = engines.named(name)
    assert name == engine.NAME
    assert isinstance(engine.available(CPU), str)


@pytest.mark.parametrize("name", [name for name in engines.names() if not engines.named(name).available(CPU)])
def test_each_engine_gives_nearly_what_single_precision_gives(name: str):
    values = torch.randn((1, 16, 16, 16), generator=torch.Generator().manual_seed(1))
    answers = []
    for each in ("fp32", name):
        way = engines.named(each).build(network(), PLAN, CPU)
        (block,) = walk(values, way.window((16, 16, 16)), way.forward, batch=way.batch)
        answers.append(block.scores)
    assert (answers[0] - answers[1]).abs().max() < (0.05 if "bf16" in name else 1e-4)


@pytest.mark.parametrize("name", ["compiled", "aot", "cuda-graph"])
def test_what_is_for_gpus_is_not_used_on_a_cpu(name: str):
    assert engines.named(name).available(CPU) == "it is for GPUs"


def test_without_evidence_it_is_single_precision_and_nothing_is_said(tmp_path: Path):
    way, notes = choose(fitting(tmp_path), PLAN, Bright())
    assert (way.name, way.dtype, notes) == ("fp32", "float32", ())
    assert way.batch > 1


def test_the_fastest_that_passed_is_used_and_told(tmp_path: Path, evidence: EngineEvidence):
    assert (
        evidence.chosen == min((each for each in evidence.trials if not each.problem), key=lambda e: e.seconds).engine
    )
    other = next(each.engine for each in evidence.trials if each.engine == "bf16-whole" and not each.problem)
    engine_evidence.write(tmp_path, replace(evidence, chosen=other))
    way, (note,) = choose(fitting(tmp_path), PLAN, Bright())
    assert way.name == other
    assert "half precision (bfloat16), the volume in one piece" in note
    assert "Dice with single precision at least 1.0000 on 1 validation case(s)" in note


def test_a_card_that_wants_it_exact_gets_single_precision(tmp_path: Path, evidence: EngineEvidence):
    engine_evidence.write(tmp_path, replace(evidence, chosen="bf16"))
    wants = fitting(tmp_path, card=replace(card(), engine=EngineChoice.EXACT))
    assert choose(wants, PLAN, Bright())[0].name == "fp32"


def test_evidence_of_other_files_or_versions_or_threads_does_not_count(
    tmp_path: Path, evidence: EngineEvidence, monkeypatch: pytest.MonkeyPatch
):
    engine_evidence.write(tmp_path, evidence)
    assert standing(fitting(tmp_path)) == evidence
    assert standing(fitting(tmp_path, model_digest="e" * 64)) is None
    here = choice.here(CPU)
    for other in (replace(here, threads=99), replace(here, device_name="another"), replace(here, versions={})):
        monkeypatch.setattr(choice, "here", lambda device, other=other: other)
        assert standing(fitting(tmp_path)) is None


def test_with_little_memory_what_held_least_is_used(tmp_path: Path, evidence: EngineEvidence):
    least = "bf16-sparse"
    trials = [replace(each, peak_bytes=1 if each.engine == least else 2) for each in evidence.trials]
    engine_evidence.write(tmp_path, replace(evidence, trials=tuple(trials)))
    assert choose(fitting(tmp_path, frugal=True), PLAN, Bright())[0].name == least
    assert choose(fitting(tmp_path / "none", frugal=True), PLAN, Bright())[0].batch == 1


def test_damaged_evidence_is_none(tmp_path: Path, evidence: EngineEvidence):
    file = engine_evidence.write(tmp_path, evidence)
    file.write_bytes(file.read_bytes()[:-9])
    assert standing(fitting(tmp_path)) is None


@pytest.mark.parametrize(
    "change", [{"problem": "other labels"}, {"dice": {1: 0.5}}, {"dice": {1: float("nan")}}, {"batch": 0}]
)
def test_evidence_that_speaks_against_the_engine_it_names_is_none(
    tmp_path: Path, evidence: EngineEvidence, change: dict[str, object]
):
    trials = tuple(replace(each, **change) if each.engine == "bf16" else each for each in evidence.trials)
    engine_evidence.write(tmp_path, replace(evidence, chosen="bf16", trials=trials))
    assert choose(fitting(tmp_path), PLAN, Bright())[0].name == "fp32"
    assert choose(fitting(tmp_path, frugal=True), PLAN, Bright())[0].name == "fp32"


def test_an_engine_that_gives_other_labels_is_not_chosen(monkeypatch: pytest.MonkeyPatch):
    wrong = ModuleType("wrong")

    def build(network: torch.nn.Module, plan: object, device: torch.device) -> Way:
        plain = engines.named("fp32").build(network, PLAN, device)
        return replace(plain, name="x", forward=lambda windows: plain.forward(windows + 14.9 * (windows == 0)))

    wrong.NAME, wrong.available, wrong.build = "x", lambda device: "", build
    found = {"fp32": engines.named("fp32"), "x": wrong}
    monkeypatch.setattr(measuring, "names", lambda: list(found))
    monkeypatch.setattr(measuring, "named", found.__getitem__)
    subject = Subject(model_digest="d", network=Bright(), plan=PLAN, device=CPU)
    result = measure(subject, 1, reader(volume()), NOW)
    assert result.chosen == "fp32"
    assert result.trials[1].seconds < result.trials[0].seconds
    assert result.trials[1].problem.startswith("other labels than single precision (Dice of label 1: 0.")


def test_an_engine_that_breaks_is_told_and_the_others_go_on():
    class Broken(Bright):
        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            if windows.dtype == torch.bfloat16:
                raise RuntimeError("no kernel for BFloat16")
            return super().forward(windows)

    subject = Subject(model_digest="d", network=Broken(), plan=PLAN, device=CPU)
    result = measure(subject, 1, reader(volume()), NOW)
    problems = {each.engine: each.problem for each in result.trials}
    assert problems["bf16"] == "no kernel for BFloat16"
    assert not problems["fp32"]


def _compiles(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> list[int]:
    """Offer one engine more, "aot", which compiles over its first windows, and note how many it is given."""
    given = list[int]()

    def build(network: torch.nn.Module, plan: Plan, device: torch.device) -> Way:
        plain = engines.named("fp32").build(network, plan, device)

        def forward(windows: torch.Tensor) -> torch.Tensor:
            given.append(len(windows))
            if error is not None:
                raise error
            return plain.forward(windows)

        return replace(plain, name="aot", forward=forward, batch=3, fixed=True)

    monkeypatch.setattr(aot, "available", lambda _: "")
    monkeypatch.setattr(aot, "build", build)
    return given


def test_what_compiles_over_its_first_windows_does_so_before_a_study_comes(
    tmp_path: Path, evidence: EngineEvidence, monkeypatch: pytest.MonkeyPatch
):
    trials = tuple(
        replace(each, problem="", dice={1: 1.0}, batch=3) if each.engine == "aot" else each for each in evidence.trials
    )
    engine_evidence.write(tmp_path, replace(evidence, chosen="aot", trials=trials))
    given = _compiles(monkeypatch, None)
    assert choose(fitting(tmp_path), PLAN, Bright())[0].name == "aot"
    assert given == [3, 3]
    _compiles(monkeypatch, RuntimeError("no compiler for C++ here\nand more"))
    way, notes = choose(fitting(tmp_path), PLAN, Bright())
    assert way.name == "fp32"
    assert notes == ("the engine aot could not be built (no compiler for C++ here): single precision",)
    _compiles(monkeypatch, RuntimeError("CUDA error: an illegal memory access was encountered"))
    with pytest.raises(RuntimeError, match="illegal"):
        choose(fitting(tmp_path), PLAN, Bright())


def test_an_engine_that_takes_long_to_build_is_not_measured_further(monkeypatch: pytest.MonkeyPatch):
    subject = Subject(model_digest="d", network=Bright(), plan=PLAN, device=CPU)
    given = _compiles(monkeypatch, None)
    assert not _trial(measure(subject, 1, reader(volume()), NOW), "aot").problem
    assert set(given) == {3}
    seconds = iter(range(0, 10_000, 61))
    monkeypatch.setattr(measuring.time, "monotonic", lambda: next(seconds))
    assert _trial(measure(subject, 1, reader(volume()), NOW), "aot").problem == "building it takes 61 s at each start"


def test_a_lost_gpu_ends_the_measuring(monkeypatch: pytest.MonkeyPatch):
    _compiles(monkeypatch, RuntimeError("CUDA error: an illegal memory access was encountered"))
    subject = Subject(model_digest="d", network=Bright(), plan=PLAN, device=CPU)
    with pytest.raises(RuntimeError, match="illegal"):
        measure(subject, 1, reader(volume()), NOW)


def _trial(found: EngineEvidence, name: str) -> Trial:
    return next(each for each in found.trials if each.engine == name)


def test_values_that_are_no_numbers_are_refused_and_so_is_a_model_without_cases():
    class Nothing(Bright):
        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            return super().forward(windows) * float("nan")

    subject = Subject(model_digest="d", network=Nothing(), plan=PLAN, device=CPU)
    with pytest.raises(Failed, match="not numbers"):
        measure(subject, 1, reader(volume()), NOW)
    with pytest.raises(Failed, match="no validation cases"):
        measure(subject, 0, reader(volume()), NOW)


def test_dice_is_of_every_label_that_either_holds():
    one, other = torch.tensor([0, 1, 1, 2]).byte().numpy(), torch.tensor([0, 1, 0, 3]).byte().numpy()
    assert dice(one, other) == {1: pytest.approx(2 / 3), 2: 0.0, 3: 0.0}


def test_openvino_reaches_for_no_network(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("openvino")
    calls = []
    monkeypatch.setattr("socket.socket.connect", lambda *given: calls.append(given))
    monkeypatch.setattr("socket.getaddrinfo", lambda *given, **more: calls.append(given))
    engines.named("openvino-f32").build(Bright(), PLAN, CPU)
    assert calls == []


def test_engines_are_found_by_listing_their_folder():
    files = {file.stem.replace("_", "-") for file in Path(ways.__file__).parent.glob("*.py")} - {"--init--"}
    assert set(engines.names()) == files
    assert engines.names()[0] == "fp32"


def test_of_a_hundred_classes_one_window_is_computed_at_a_time():
    large = replace(PLAN, window=replace(PLAN.window, roi=(96, 96, 96)))
    assert engines.named("fp32").build(network(), large, CPU).batch == 4
    assert engines.named("fp32").build(network(classes=105), large, CPU).batch == 1
