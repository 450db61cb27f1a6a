"""Side by side in processes, backends are found to be what they are found to be one after another in one."""

import dataclasses
import os
import signal
import tempfile
from pathlib import Path

import numpy as np
import pytest

import spec
from densenet_tools.backends import Runner
from densenet_tools.commands import parity
from densenet_tools.parity import Comparison, verify
from densenet_tools.parity.checks import judge
from densenet_tools.parity.process import Process, ProcessError, environment
from densenet_tools.parity.processes import LARGE, needed, verify_all
from densenet_tools.parity.run import Run
from densenet_tools.parity.stored import (
    Arrays,
    StoredReference,
    read_arrays,
    write_arrays,
    write_comparison,
    write_reference,
)
from tests.cases import small
from tests.support import photographs, require

NETWORK = small(block_config=[1, 1], dropout=0.5)
NUMPY = Runner("numpy")


def comparison(dtype: str = "float32", network: spec.Network = NETWORK, **options) -> Comparison:
    checks = options.pop("checks", ("logits", "layers", "gradients"))
    return Comparison(network, photographs(network.input_shape), dtype, checks=checks, **options)


def in_one_process(each: Comparison, runners: list[Runner]) -> list:
    return verify(each.network, runners, each.images, each.dtype, each.seed, each.checks, each.weights)


def timeless(verdicts: list) -> list:
    return [dataclasses.replace(verdict, seconds=0.0) for verdict in verdicts]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The place of temporary files, which must be empty afterwards."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def started(monkeypatch) -> list[Process]:
    """The processes that a test starts."""
    found = []
    start = Process.__init__

    def noted(self, *arguments):
        start(self, *arguments)
        found.append(self)

    monkeypatch.setattr(Process, "__init__", noted)
    return found


def test_the_verdicts_are_those_of_one_process(folder, started):
    """Of two networks, one of them with weights of its own."""
    weights = spec.randomize(spec.initialize(NETWORK, 3), 3)
    comparisons = [comparison(), comparison(weights=weights)]
    found = dict(verify_all(comparisons, [NUMPY]))
    for place, each in enumerate(comparisons):
        assert timeless(found[place]) == timeless(in_one_process(each, [NUMPY]))
    assert found[0][0].absolute != found[1][0].absolute
    assert len(started) == 1
    assert list(folder.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_they_are_the_same_of_every_backend_and_executor(folder, dtype):
    runners = [Runner(name) for name in ("numpy", "torch", "mxnet", "keras") if require(name)]
    runners += [Runner("torch", "exported"), Runner("mxnet", "static"), Runner("torch")]
    comparisons = [comparison(dtype), comparison(dtype, small(bn_size=2), checks=["logits"])]
    found = dict(verify_all(comparisons, runners))
    for place, each in enumerate(comparisons):
        for verdict, other in zip(found[place], in_one_process(each, runners), strict=True):
            assert verdict.agrees, verdict.problem
            assert (verdict.backend, verdict.parameters) == (other.backend, other.parameters)
            assert [check.name for check in verdict.checks] == [check.name for check in other.checks]
            assert [name for name, _ in verdict.layers] == [name for name, _ in other.layers]


def test_what_a_backend_refuses_is_refused_in_its_words(folder):
    softmax = comparison(network=small(block_config=[1, 1], classifier_activation="softmax"))
    with pytest.raises(spec.SpecError, match="ends in a softmax, a loss needs logits"):
        list(verify_all([softmax], [NUMPY]))
    assert list(folder.iterdir()) == []


def test_a_process_that_is_killed_is_told_with_its_backend_and_network(folder, started, monkeypatch):
    ask = Process.ask

    def ask_and_kill(self, *arguments):
        ask(self, *arguments)
        os.kill(self._popen.pid, signal.SIGKILL)

    monkeypatch.setattr(Process, "ask", ask_and_kill)
    with pytest.raises(ProcessError, match="the process that ran the reference on small was killed, as processes are"):
        list(verify_all([comparison()], [NUMPY]))
    assert list(folder.iterdir()) == []


def test_anything_unforeseen_is_told_with_its_backend_and_network(folder):
    """A dtype that has no tolerance."""
    with pytest.raises(ProcessError, match=r"^numpy on small: KeyError: 'float16'$"):
        list(verify_all([comparison("float16")], [NUMPY]))


def test_an_interrupt_leaves_no_process_and_no_file(folder, started, monkeypatch):
    def interrupt(*_):
        assert list(folder.iterdir())
        raise KeyboardInterrupt

    monkeypatch.setattr("densenet_tools.parity.processes.select.select", interrupt)
    with pytest.raises(KeyboardInterrupt):
        list(verify_all([comparison()], [NUMPY]))
    assert [process._popen.returncode for process in started] == [-signal.SIGKILL]
    assert list(folder.iterdir()) == []


def test_a_process_whose_parent_is_gone_removes_the_files_and_ends(tmp_path):
    """What it reads from is closed then, by the system."""
    root = tmp_path / "files"
    (root / "0").mkdir(parents=True)
    process = Process(root, environment(1, "float32"))
    process.requests.close()
    assert process._popen.wait(60) == -signal.SIGKILL
    process.answers.close()
    assert list(tmp_path.iterdir()) == []


def test_arrays_come_back_as_they_were_whatever_their_names(tmp_path):
    arrays = {"a.b": np.arange(6.0).reshape(2, 3), "../x": np.float32([1]), "input": np.ones((2, 2)).T}
    write_arrays(tmp_path / "arrays", arrays)
    found = read_arrays(tmp_path / "arrays")
    assert list(found) == list(arrays)
    assert len(found) == 3
    for name, array in found.items():
        assert array.dtype == arrays[name].dtype
        assert (array == arrays[name]).all()
        assert not array.flags.writeable
    assert {array.dtype for array in Arrays(tmp_path / "arrays", "float64").values()} == {np.dtype("float64")}


def test_a_full_disk_is_told_in_one_sentence(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", fail)
    with pytest.raises(spec.SpecError, match=r"No space left on device; set TMPDIR to a folder with more room$"):
        write_arrays(tmp_path / "arrays", {"a": np.ones(1)})


@pytest.mark.parametrize("checks", [("logits",), ("logits", "layers", "gradients")])
def test_a_departure_is_found_from_files_whether_or_not_they_have_the_layers(tmp_path, checks):
    folder, each = tmp_path / "0", comparison(checks=checks)
    write_comparison(folder, each)
    write_reference(folder)
    reference, weights = StoredReference(folder, each), dict(read_arrays(folder / "weights"))
    norm = "features.norm5.running_var"
    run = Run(NETWORK, NUMPY, "float32", weights | {norm: 2 * weights[norm]}, each.rounded())
    found = judge(run, reference, each.checks)
    assert found.departure.layer == "features.norm5"
    assert "numpy departs from the NumPy reference" in found.problem
    assert bool(found.layers) is ("layers" in checks)


def test_threads_are_shared_unless_the_user_has_said_how_many(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    found = environment(3, "float64")
    assert (found["OMP_NUM_THREADS"], found["OPENBLAS_NUM_THREADS"]) == ("7", "3")


@pytest.mark.parametrize(("name", "large"), [("densenet121", False), ("densenet264", True), ("vgg11", True)])
def test_a_network_is_large_where_two_of_it_would_not_fit_beside_each_other(name, large):
    """VGG-11 has 129 million parameters, which four times in float64 are 4.1 GB."""
    network = spec.variant(name)
    images = np.broadcast_to(np.float32(0), (2, *network.input_shape))
    assert (needed(Comparison(network, images)) > LARGE) is large


def test_tables_come_in_the_order_asked_for_whichever_is_complete_first(monkeypatch):
    monkeypatch.setattr(parity, "_as_complete", lambda *_: (pair for pair in [(1, ["b"]), (2, ["c"]), (0, ["a"])]))
    assert list(parity._in_order([comparison()] * 3, [NUMPY])) == [["a"], ["b"], ["c"]]
