"""A checkpoint that is not what was written, or not of its run, is refused in one sentence, and stays as it is."""

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import spec
from densenet_tools.training import state as states
from spec import tensors
from tests.porting.support import with_metadata
from tests.training.support import begin, content, go_on, newest, outcome, refused, settings


class TestCheckpoint:
    @pytest.mark.parametrize("name", [states.WEIGHTS, states.VELOCITIES])
    @pytest.mark.parametrize("left", [0, 7, 8, 100, 0.5, -1])
    def test_a_file_that_was_cut_off_is_refused(self, name, left, run):
        path = newest(run) / name
        whole = path.read_bytes()
        path.write_bytes(whole[: int(left * len(whole)) if isinstance(left, float) else left])
        before = content(run)
        with refused(f"{path} is not a readable safetensors file"):
            go_on(run)
        assert content(run) == before

    @pytest.mark.parametrize("name", [states.WEIGHTS, states.VELOCITIES])
    def test_every_byte_counts(self, name, run):
        """One bit of every 23rd byte is turned, in the header as in the values."""
        path = newest(run) / name
        whole = path.read_bytes()
        for place in range(0, len(whole), 23):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with refused(str(newest(run))):
                states.load(run)

    @pytest.mark.parametrize("name", [states.WEIGHTS, states.VELOCITIES])
    def test_a_file_that_is_gone_is_refused(self, name, run):
        (newest(run) / name).unlink()
        with refused(f"{newest(run) / name} does not exist"):
            go_on(run)

    def test_files_of_two_checkpoints_are_refused(self, run, data, tmp_path):
        begin(settings(data, "numpy"), tmp_path / "other", items=3, save=True)
        shutil.copy(newest(tmp_path / "other") / states.WEIGHTS, newest(run))
        with refused(f"{newest(run)} is damaged, its files are not those that train wrote together"):
            go_on(run)

    def test_another_name_is_refused(self, run):
        """It says which checkpoint is the newest."""
        newest(run).rename(run / "step-000099-epochs-1")
        with refused(f"{newest(run)} holds another checkpoint than its name says: rename it to step-000007-epochs-1"):
            go_on(run)


def with_state(run: Path, text: str) -> None:
    """The newest checkpoint says that of how far the run is, and its digest fits; its name does, where it can."""
    folder = newest(run)
    header = tensors.read_header(folder / states.VELOCITIES)
    velocities, _ = tensors.read_arrays(header, sorted(header.shapes))
    digest = states._digest(folder / states.WEIGHTS, text, velocities)
    with_metadata(folder / states.VELOCITIES, state=text, sha256=digest)
    with suppress(spec.SpecError):
        folder.rename(run / states._name(states._state(folder, text)))


NAN, HUGE = float("nan"), 10**400
NOT_A_STATE = [
    ({"step": -1}, "state.step: should be greater than or equal to 0"),
    ({"step": "7"}, "state.step: should be a valid integer"),
    ({"step": 7.0}, "state.step: should be a valid integer"),
    ({"step": True}, "state.step: should be a valid integer"),
    ({"step": None}, "state.step: should be a valid integer"),
    ({"loss_sum": NAN}, "state.loss_sum: should be a finite number"),
    ({"loss_sum": "1"}, "state.loss_sum: should be a valid number"),
    ({"loss_sum": HUGE}, "state.loss_sum: should be a finite number"),
    ({"correct": -1}, "state.correct: should be greater than or equal to 0"),
    ({"seconds": -1.0}, "state.seconds: should be greater than or equal to 0"),
    ({"best": [1]}, "state.best: should be a valid number"),
    ({"history": {}}, "state.history: should be a valid array"),
    ({"history": [1]}, "state.history.0: should be"),
    ({"history": [{"epoch": 1}]}, "state.history.0.step: Field required"),
    ({"images": [40]}, "state.images.1: Field required"),
    ({"surplus": 1}, "state.surplus: Unexpected keyword argument"),
]
NOT_A_TABLE = ["", "null", "[]", "7", "{", '{"step": 7} {}', "[" * 10**5]
NOT_OF_THE_RUN = [
    ({"step": 11}, "step 11 after 1 epochs does not fit"),
    ({"step": 10**12}, "step 1000000000000 after 1 epochs does not fit"),
    ({"step": 4}, "step 4 after 1 epochs does not fit"),
    ({"history": []}, "step 7 after 0 epochs does not fit"),
]


class TestState:
    def check(self, run: Path, changed: dict[str, Any], says: str) -> None:
        state = json.loads(tensors.read_header(newest(run) / states.VELOCITIES).metadata["state"])
        with_state(run, json.dumps(state | changed))
        before = content(run)
        with refused(says):
            go_on(run)
        assert content(run) == before

    def test_the_same_state_is_taken(self, run, undisturbed):
        """A control: what is refused below is refused for what it says."""
        state = json.loads(tensors.read_header(newest(run) / states.VELOCITIES).metadata["state"])
        with_state(run, json.dumps(state))
        go_on(run)
        assert outcome(run) == undisturbed("numpy")

    @pytest.mark.parametrize(("changed", "says"), NOT_A_STATE, ids=str)
    def test_what_is_no_state_is_refused(self, changed, says, run):
        self.check(run, changed, f"does not say how far its run is: {says}")

    @pytest.mark.parametrize("text", NOT_A_TABLE, ids=lambda text: text[:12])
    def test_what_is_no_table_is_refused(self, text, run):
        with_state(run, text)
        with refused(f"{newest(run) / states.VELOCITIES} does not say how far its run is: state: "):
            go_on(run)

    @pytest.mark.parametrize(("changed", "says"), NOT_OF_THE_RUN, ids=str)
    def test_a_place_that_the_run_has_not_is_refused(self, changed, says, run):
        self.check(run, changed, says)

    def test_another_epochs_end_is_refused(self, run):
        state = json.loads(tensors.read_header(newest(run) / states.VELOCITIES).metadata["state"])
        self.check(run, {"history": [state["history"][0] | {"step": 6}]}, "step 7 after 1 epochs does not fit")
