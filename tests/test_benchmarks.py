"""The benchmarks: their arithmetic, the workers' protocol, and the page. Nothing is timed here."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import page, results, sections
from benchmarks.__main__ import main
from benchmarks.arithmetic import exponent, quartiles, ratio, slope
from benchmarks.engines import FRAMEWORKS, Engine, by_layer, engines
from benchmarks.parts import GROWN
from benchmarks.processes import ROOT, Gone, Process
from benchmarks.rounds import Case, Settings, Turns, far, running

TASKS = ("inference", "training", "profile")
LISTED = "import sys; from benchmarks.engines import engines; engines('inference'); print(*sys.modules)"
# Workers of their own: one that does what a test asks for, and one that has engines of no framework.
TOY = """
import os, sys, time
from benchmarks.worker import serve

class Toy:
    def double(self, number):
        print("noise")
        return {"doubled": 2 * number}
    def import_nothing(self):
        import nothing_of_that_name
    def divide(self):
        1 / 0
    def die(self):
        print("the last words", file=sys.stderr, flush=True)
        os._exit(3)
    def sleep(self):
        time.sleep(60)

serve(Toy())
"""
ENGINES = """
from benchmarks.engines import inference
from benchmarks.worker import Worker, serve

@inference("right")
def right(network, weights):
    return lambda images: images.mean((2, 3))

@inference("wrong")
def wrong(network, weights):
    return lambda images: images.mean((2, 3)) * 1.001

@inference("absent")
def absent(network, weights):
    import nothing_of_that_name

serve(Worker())
"""


@pytest.fixture
def toy(tmp_path):
    with running(1, tmp_path, (sys.executable, "-c", TOY)) as process:
        yield process


def test_quartiles_and_a_median():
    assert quartiles([5.0, 1.0, 4.0, 2.0, 3.0]) == (2.0, 3.0, 4.0)


def test_a_ratio_is_the_median_of_those_of_each_round():
    """2/1, 6/2 and 3/3: the middle one is 2, where that of the medians would be 3/2."""
    assert ratio([2, 6, 3], [1, 2, 3]) == 2


def test_the_exponent_of_a_power_is_its_power():
    assert exponent([1, 2, 4, 8], [3, 12, 48, 192]) == pytest.approx(2)


def test_the_slope_of_a_line_is_what_one_more_costs():
    """By hand, of (0, 0), (1, 1), (2, 5): sum of (x - 1) y over that of (x - 1)^2, (0 + 5) / 2."""
    assert slope([0, 1, 2], [0, 1, 5]) == pytest.approx(2.5)


def test_outputs_of_another_shape_are_infinitely_far():
    assert far(np.ones((2, 3)), np.ones((3, 2))) == float("inf")
    assert far(np.array([1.0, 3.0]), np.array([1.0, 4.0])) == 0.25


def test_engines_are_held_beside_engines_that_there_are():
    for task in TASKS:
        names = {engine.name for engine in engines(task)}
        assert {other for engine in engines(task) for other in engine.beside} <= names
    assert {*GROWN["batch"], *GROWN["size"]} <= {engine.name for engine in engines("inference")}
    assert set(GROWN["depth"]) <= {engine.name for engine in engines("training")}


def test_every_engine_of_ours_is_held_beside_one():
    assert all(engine.beside for task in TASKS[:2] for engine in engines(task) if engine.ours)


def test_engines_are_listed_without_importing_their_frameworks():
    done = subprocess.run([sys.executable, "-c", LISTED], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"torch", "mxnet", "keras", "tensorflow", "onnx", "onnxruntime", "openvino"} & set(done.stdout.split())


def test_arrays_come_layer_by_layer():
    weights = {"a.weight": 1, "a.bias": 2, "b.weight": 3, "c.d.weight": 4, "c.d.bias": 5}
    assert list(by_layer(weights)) == [[1, 2], [3], [4, 5]]


def test_a_worker_answers_and_is_stopped_in_between(toy):
    assert toy.ask(20, do="double", number=3) == {"doubled": 6}
    assert eventually(lambda: state(toy.process.pid) == "T")
    assert toy.ask(20, do="double", number=4) == {"doubled": 8}


@pytest.mark.parametrize(
    ("do", "timeout", "says", "missing"),
    [
        ("import_nothing", 20, "ModuleNotFoundError: No module named 'nothing_of_that_name'", True),
        ("divide", 20, "ZeroDivisionError: division by zero", False),
        ("die", 20, "the process ended with 3: the last words", False),
        ("sleep", 0.05, "took more than 0 s", False),
    ],
)
def test_a_worker_that_cannot_go_on_is_gone_and_says_why(toy, do, timeout, says, missing):
    toy.ask(20, do="double", number=1)
    with pytest.raises(Gone) as gone:
        toy.ask(timeout, do=do)
    assert str(gone.value) == says
    assert gone.value.missing is missing
    assert toy.process.poll() is not None


def test_engines_take_turns_and_those_that_cannot_are_left_out(tmp_path):
    chosen = [toy_engine(name) for name in ("right", "wrong", "absent")]
    case = Case("densenet_d2l", ((1, 96), (2, 96)), {"block_config": [1]})
    processes = {each.name: (each, Process(1, tmp_path, (sys.executable, "-c", ENGINES))) for each in chosen}
    turns = Turns(case, Settings(rounds=2, burst=0, threads=1), processes)
    turns.build(tmp_path)
    for point in case.points:
        turns.prepare(point, tmp_path)
        turns.take(point)
        turns.take(point)
    for _, process in processes.values():
        process.close()
    assert list(turns.found.missing) == ["absent"]
    assert turns.found.failed == {"wrong": "what it puts out is off by 1e-03 of the largest, allowed is 1e-05"}
    points = turns.found.engines["right"]["points"]
    assert [(point["batch"], len(point["seconds"])) for point in points] == [(1, 2), (2, 2)]


@pytest.mark.slow
def test_a_stopped_worker_does_not_outlive_what_started_it(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from benchmarks.processes import Process; "
        f"p = Process(1, Path({str(tmp_path)!r}), (sys.executable, '-c', {TOY!r})); "
        "p.ask(20, do='double', number=1); print(p.process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        worker = int(parent.stdout.readline())
        parent.kill()
    assert eventually(lambda: not alive(worker))


def test_the_page_is_what_the_results_say():
    assert page.refresh(results.RESULTS, check=True) == 0


def test_a_page_that_is_not_is_noticed(tmp_path, monkeypatch, capsys):
    stale = tmp_path / "performance.md"
    stale.write_text(page.PAGE.read_text(encoding="utf-8").replace("torch", "tOrch", 1), encoding="utf-8")
    monkeypatch.setattr(page, "PAGE", stale)
    assert page.refresh(results.RESULTS, check=True) == 1
    assert "python -m benchmarks page writes it" in capsys.readouterr().err


def test_the_pictures_of_the_page_are_there():
    named = sections.PICTURE.format("") in page.PAGE.read_text(encoding="utf-8")
    for suffix in ("", "-dark"):
        assert (page.DOCS / sections.PICTURE.format(suffix)).exists() == named


def test_inference_on_the_page(content):
    """One billion multiply-adds in 20 ms are 100 GFLOP/s, half of 200."""
    lines = list(sections.inference(content))
    assert "| peer | 40.0 [39.0-41.0] | 150 [150-150] |" in lines
    assert "| **torch** | 20.0 [19.5-20.5] |  |" in lines
    assert "| torch | peer | 0.50 |  |" in lines
    assert "| **torch** | 100 (50%) |  |" in lines
    assert "| peer | 1.0 | 2.0 | 3 | 0e+00 |" in lines
    assert "Left out: absent (No module named 'absent')." in lines
    assert "Failed: lost (took more than 240 s)." in lines
    assert not any(line.startswith("| lost |") for line in lines)


def test_training_on_the_page(content):
    content["figures"]["points"] = [[1, 8]]
    lines = list(sections.training(content))
    assert "| **torch** | 20.0 [19.5-20.5] | 2 |" in lines
    assert "| torch | peer | 0.50 | 0.50 |" in lines


def test_a_profile_on_the_page(content):
    content["figures"]["engines"] = {"torch": {"add": 0.001, "conv": 0.006, "pool": 0.001}}
    assert "| torch | `conv` 75%, `add` 12%, `pool` 12% | 8 |" in list(sections.profiles(content))


def test_results_are_written_whole_and_read_again(tmp_path, content):
    results.write(tmp_path / "new", "inference", results.rounded(content))
    assert results.read(tmp_path / "new") == {"inference": content}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["everything"], "unknown part 'everything': known: inference, training, growth, profiles, and page by itself"),
        (["--only", "torch,caffe"], "--only: unknown framework 'caffe': known: torch, mxnet, keras, onnx"),
        (["--batches", "1,0"], "--batches must be whole numbers above 0 with commas between, found '1,0': say 1,8"),
        (["--rounds", "0"], "--rounds must be at least 1, found 0"),
        (["page", "--results", "nowhere"], "nowhere has no results: run python -m benchmarks first"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_a_sentence(arguments, says, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err == f"{says}\n"


def test_a_damaged_file_of_results_is_named(tmp_path, capsys):
    (tmp_path / "training.json").write_text("{")
    assert main(["page", "--results", str(tmp_path)]) == 2
    assert "training.json is no JSON file" in capsys.readouterr().err


@pytest.fixture
def content() -> dict:
    """Results as a run writes them, in round numbers."""

    def engine(ours: bool, beside: list[str], *points: dict) -> dict:
        return {"ours": ours, "beside": beside, "build": 1.0, "first": 2.0, "difference": 0.0, "points": list(points)}

    def point(batch: int, memory: int, *seconds: float) -> dict:
        figures = {"first": 0.1, "memory": memory, "seconds": list(seconds)}
        return {"batch": batch, "size": 8, **figures}

    figures = {
        "network": "densenet121",
        "points": [[1, 8], [8, 8]],
        "multiply_adds": [1_000_000_000, 1_000_000_000],
        "engines": {
            "peer": engine(False, [], point(1, 2**22, 0.038, 0.040, 0.042), point(8, 3 * 2**20, 0.15, 0.15, 0.15)),
            "torch": engine(True, ["peer", "lost"], point(1, 2**21, 0.019, 0.020, 0.021)),
            "lost": engine(False, [], point(1, 2**20)),
        },
        "missing": {"absent": "No module named 'absent'"},
        "failed": {"lost": "took more than 240 s"},
        "rates": [[190e9, 200e9, 210.5e9], [200e9, 200e9, 200e9]],
    }
    machine = {"processor": "fast", "cores": 2, "memory": 2**30, "system": "Linux x86_64", "python": "3.11.7"}
    machine |= {"versions": {"numpy": "1.26.4"}, "date": "2026-01-01"}
    settings = {"rounds": 3, "burst": 0.4, "threads": 2}
    options = {"settings": settings, "frameworks": list(FRAMEWORKS), "batches": [1, 8]}
    return json.loads(json.dumps({"machine": machine, "options": options, "figures": figures}))


def toy_engine(name: str) -> Engine:
    """What the parent knows of an engine that only its worker has."""
    return Engine(name, "inference", "torch", lambda network, weights: None, (), True, "NCHW", 1e-5, False)


def alive(pid: int) -> bool:
    """Whether a process runs, or is stopped; one that waits for its parent to ask how it ended does not."""
    try:
        return state(pid) != "Z"
    except FileNotFoundError:
        return False


def state(pid: int) -> str:
    """T of a process that is stopped, Z of one that has ended."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def eventually(holds) -> bool:
    """Whether it does within some seconds."""
    end = time.monotonic() + 10
    while not holds() and time.monotonic() < end:
        os.sched_yield()
    return holds()
