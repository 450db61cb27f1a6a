"""Runs a saved model: `KERAS_BACKEND=jax python -m densenet_keras MODEL.keras IMAGES.npy LOGITS.npy`.

The images are in the model's own layout. It is how a model saved on one framework is run on another.
"""

import sys

import keras
import numpy as np

from densenet_keras.compat import float64_kept

if __name__ == "__main__":
    model_file, images_file, logits_file = sys.argv[1:]
    with float64_kept():
        model = keras.models.load_model(model_file, compile=False)
        np.save(logits_file, model.predict_on_batch(np.load(images_file)))
