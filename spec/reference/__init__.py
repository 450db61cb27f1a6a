"""The spec, executed and differentiated by NumPy: the oracle, with no framework under it.

Slow and plain on purpose. It has the functions of a backend, in the same order.
"""

from spec.reference.files import from_file as from_file, save as save
from spec.reference.interop import (
    EXECUTORS as EXECUTORS,
    RUNNING_UPDATE as RUNNING_UPDATE,
    Reference as Reference,
    build as build,
    device as device,
    export_weights as export_weights,
    load_weights as load_weights,
    loss_and_gradients as loss_and_gradients,
    predict as predict,
    trace as trace,
    training_loss as training_loss,
)
from spec.reference.train import (
    export_velocities as export_velocities,
    freeze as freeze,
    load_velocities as load_velocities,
    seed_dropout as seed_dropout,
    set_learning_rate as set_learning_rate,
    sgd as sgd,
    step as step,
)
