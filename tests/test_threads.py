"""Several threads on one model: every answer is right, and the model is as it was."""

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial

import numpy as np
import pytest

import spec
from spec.threads import lock_of
from tests.cases import small, squeezed
from tests.support import FRAMEWORKS, loaded, require

NETWORK = small(bn_size=2, block_config=[1, 1], **squeezed("final"))
WEIGHTS = spec.randomize(spec.initialize(NETWORK, 0, np.float64), 0)
IMAGES = np.random.default_rng(0).normal(size=(2, *NETWORK.input_shape))
LABELS = np.array([0, 1])
THREADS, CALLS = 8, 6
QUICK = ("hybridized", "static", "eager", "fused")  # executors that compile nothing for seconds


def predict(backend, model):
    return {"logits": backend.predict(model, IMAGES)}


def trace(backend, model):
    return backend.trace(model, IMAGES)


def loss_and_gradients(backend, model):
    loss, gradients, statistics = backend.loss_and_gradients(model, IMAGES, LABELS)
    return {"loss": np.array(loss)} | gradients | {f"{name} after": array for name, array in statistics.items()}


def export_weights(backend, model):
    return backend.export_weights(model)


MIXED = [predict, trace, loss_and_gradients, export_weights]


def wrong(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> list[str]:
    """What is missing, too many, or farther off than sums in another order are."""
    far = [name for name in expected if name in found and not abs(found[name] - expected[name]).max() < 1e-12]
    return far + sorted(found.keys() ^ expected.keys())


def modes(model):
    """The mode of every module, where a model has one."""
    return [module.training for module in model.modules()] if hasattr(model, "modules") else None


@pytest.mark.parametrize("models", [1, 2])
@pytest.mark.parametrize("name", ["numpy", "torch", "mxnet", "keras"])
def test_mixed_calls_from_eight_threads_are_right_and_leave_the_model_as_it_was(name, models):
    backend = require(name)
    built = [loaded(backend, NETWORK, WEIGHTS) for _ in range(models)]
    before = list(map(modes, built))
    expected = {call: call(backend, built[0]) for call in MIXED}
    start = threading.Barrier(THREADS)

    def work(thread: int) -> list[str]:
        start.wait()
        calls = [MIXED[(thread + i) % len(MIXED)] for i in range(CALLS)]
        return [fault for call in calls for fault in wrong(call(backend, built[thread % models]), expected[call])]

    with ThreadPoolExecutor(THREADS) as threads:
        assert [fault for faults in threads.map(work, range(THREADS)) for fault in faults] == []
    assert list(map(modes, built)) == before
    for model in built:
        after = backend.export_weights(model)
        assert all((after[name] == array).all() for name, array in WEIGHTS.items())


def test_training_steps_beside_inference_are_none_of_them_lost(backend_name):
    """Each thread sees the weights before a step or after it, never in between."""
    backend = require(backend_name)
    alone, shared = (loaded(backend, NETWORK, WEIGHTS) for _ in range(2))
    optimizer = backend.sgd(alone, 0.1)
    seen = [backend.predict(alone, IMAGES)]
    for _ in range(THREADS):
        backend.step(alone, optimizer, IMAGES, LABELS)
        seen.append(backend.predict(alone, IMAGES))
    optimizer = backend.sgd(shared, 0.1)

    def work(_: int) -> np.ndarray:
        backend.step(shared, optimizer, IMAGES, LABELS)
        return backend.predict(shared, IMAGES)

    with ThreadPoolExecutor(THREADS) as threads:
        found = list(threads.map(work, range(THREADS)))
    assert all(min(abs(logits - one).max() for one in seen) < 1e-12 for logits in found)
    assert abs(backend.predict(shared, IMAGES) - seen[-1]).max() < 1e-12


@pytest.mark.parametrize("name", ["numpy", *FRAMEWORKS])
def test_every_function_waits_for_the_others_on_its_model(name):
    """None is done while another thread has the model; all are, once it has let it go."""
    backend = require(name)
    model = loaded(backend, NETWORK, WEIGHTS)
    optimizer = backend.sgd(model, 0.1)
    calls = {
        "load_weights": lambda: backend.load_weights(model, WEIGHTS),
        **{call.__name__: partial(call, backend, model) for call in MIXED},
        "step": lambda: backend.step(model, optimizer, IMAGES, LABELS),
        **{executor: partial(run, model, IMAGES) for executor, run in backend.EXECUTORS.items() if executor in QUICK},
    }
    for call in calls.values():
        call()  # once, so that what is built on the first call takes none of the time below
    with ThreadPoolExecutor(len(calls)) as threads:
        with lock_of(model):
            running = {name: threads.submit(call) for name, call in calls.items()}
            wait(running.values(), timeout=0.5)
            assert [name for name, future in running.items() if future.done()] == []
        for future in running.values():
            future.result(timeout=60)


def test_another_model_is_not_waited_for():
    backend = require("numpy")
    one, other = (loaded(backend, NETWORK, WEIGHTS) for _ in range(2))
    with ThreadPoolExecutor(2) as threads:
        with lock_of(one):
            waiting = threads.submit(backend.predict, one, IMAGES)
            assert threads.submit(backend.predict, other, IMAGES).result(timeout=60).shape == (2, 5)
            assert not waiting.done()
        assert waiting.result(timeout=60).shape == (2, 5)


def test_models_built_side_by_side_are_each_as_asked_for():
    """Keras' data format is one for the whole process."""
    backend = require("keras")
    import keras

    before = keras.config.image_data_format()
    formats = ["channels_last", "channels_first"] * 4

    def layout(data_format: str) -> int:
        model = backend.build(NETWORK, "float32", data_format)
        return model.input_shape.index(3)

    with ThreadPoolExecutor(THREADS) as threads:
        assert list(threads.map(layout, formats)) == [3, 1] * 4
    assert keras.config.image_data_format() == before


def test_the_dtype_table_of_keras_is_put_back_by_the_last_to_leave():
    require("keras")
    from keras.src.backend.common.dtypes import BIT64_TO_BIT32_DTYPE as rounded

    from densenet_keras.compat import float64_kept

    before = rounded["float64"]
    first, second = float64_kept(), float64_kept()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert rounded["float64"] == "float64"
    second.__exit__(None, None, None)
    assert rounded["float64"] == before
