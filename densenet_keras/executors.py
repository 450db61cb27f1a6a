"""Other ways to run the same model: each takes a model and images (N, C, H, W), and returns the logits."""

import os
import subprocess
import sys
from tempfile import TemporaryDirectory

import keras
import numpy as np

import spec
from densenet_keras.compat import float64_kept
from densenet_keras.interop import array_of, to_input
from spec.threads import one_at_a_time


@one_at_a_time
@float64_kept()
def eager(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Layer by layer, as a call of the model is; predict runs what Keras has compiled."""
    return array_of(model(to_input(model, images), training=False))


def on_tensorflow(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Saved as a .keras file, and opened by Keras on TensorFlow in another process."""
    return _opened_on(model, "tensorflow", images)


def on_torch(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Saved as a .keras file, and opened by Keras on PyTorch in another process."""
    return _opened_on(model, "torch", images)


def on_jax(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Saved as a .keras file, and opened by Keras on JAX in another process."""
    return _opened_on(model, "jax", images)


EXECUTORS = {"eager": eager, "tensorflow": on_tensorflow, "torch": on_torch, "jax": on_jax}


@one_at_a_time
def _opened_on(model: keras.Model, framework: str, images: np.ndarray) -> np.ndarray:
    """The logits that `python -m densenet_keras` writes; a process has one framework under Keras, from the start."""
    environment = os.environ | {"KERAS_BACKEND": framework, "JAX_ENABLE_X64": "1"}
    with TemporaryDirectory() as folder:
        model_file, images_file, logits_file = (f"{folder}/{name}" for name in ("model.keras", "images.npy", "out.npy"))
        model.save(model_file)
        np.save(images_file, to_input(model, images))
        command = [sys.executable, "-m", "densenet_keras", model_file, images_file, logits_file]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reasons = done.stderr.strip().splitlines() or [f"the process ended with {done.returncode}"]
            raise spec.SpecError(f"{model.name} cannot be run by Keras on {framework}: {reasons[-1]}")
        return np.load(logits_file)
