"""Why a model is not the network that it should be: structure first, then every layer's numbers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import spec
from densenet_tools.diagnosis import explaining, holdings, mending, structure
from densenet_tools.diagnosis.failing import Case
from densenet_tools.diagnosis.findings import GIVEN, TRAINS, Cause, Finding
from densenet_tools.diagnosis.matching import Matched, match
from densenet_tools.diagnosis.probing import images_for, weights_for
from densenet_tools.diagnosis.steps import Step, unrolled
from densenet_tools.diagnosis.suspect import Suspect
from densenet_tools.diagnosis.training import stepped, trained
from densenet_tools.diagnosis.verdict import Diagnosis
from spec.inference import variant_of
from spec.layers import Conv, Linear, Softmax
from spec.recording import INPUT, PARAMETRIC, Recording
from spec.reference.forward import Pass, apply
from spec.tree import output_shapes

PROBE, OWN = "probe", "own"  # weights: those that show most, put into both; the model's
IMAGES, MORE_IMAGES = 2, 8  # more where maps become one pixel, whose channels have no deviation without
SIZES = ((3, 64), (1, 28), (3, 32), (1, 96), (3, 224), (1, 224), (3, 96), (1, 32))  # channels, pixels: what models take


def diagnose(
    model: Any,
    network: spec.Network,
    weights: spec.Weights | None = None,
    use: str = PROBE,
    seed: int = 0,
    training: bool = False,
    optimizer: Any = None,
    settings: Mapping[str, float | bool] | None = None,
) -> Diagnosis:
    """Compares a model of PyTorch, Gluon or Keras, whoever wrote it, with a network.

    With `weights`, those that it should hold, its own are compared with them first. Then both compute with the same
    ones: those that show most, after which the model has its own again (`use` PROBE), or the model's (OWN). With
    `training`, a training pass is compared as well, its gradients and running statistics; with an `optimizer` of the
    model's parameters, how it moves them, and with `settings`, as {"momentum": 0.9}, its own. Raises SpecError where
    the model cannot be run on the network's images.
    """
    maps = [shape for _, _, shape in output_shapes(network.root, network.input_shape) if len(shape) == 3]
    pixels = min((shape[1] * shape[2] for shape in maps if shape[1:] != (1, 1)), default=1)
    count = IMAGES if pixels > MORE_IMAGES else MORE_IMAGES
    suspect, steps, images = Suspect(model), unrolled(network), images_for(network, count, seed)
    recording, arrays = suspect.record(images), suspect.arrays()
    recording, notes = _up_to_logits(recording, steps)
    matched = match(steps, recording, arrays)
    found = Diagnosis(
        network.name,
        recording.framework,
        recording.dtype,
        tuple((steps[number].path, recording.calls[call].layer) for number, call in sorted(matched.calls.items())),
        tuple(f"{recording.calls[call].layer} ({recording.calls[call].text})" for call in matched.calls_left),
    )
    if differing := _structure(network, steps, recording, matched, arrays):
        return replace(found, structure=tuple(differing))
    held = [] if weights is None else list(holdings.findings(steps, recording, matched, arrays, weights))
    shown = None if weights is None else list(_differences(steps, recording, matched, weights))
    if use == OWN:
        weights, put = holdings.taken(steps, recording, matched, arrays), {}
    else:
        weights = weights_for(network, images, seed, "float64" if recording.dtype == "float64" else "float32")
        put = holdings.assigned(steps, recording, matched, arrays, weights)
    with suspect.holding(put):
        if put:
            recording, arrays = _up_to_logits(suspect.record(images), steps)[0], suspect.arrays()
        if recording.dtype in ("float16", "bfloat16"):  # rounded when they were put in
            weights |= holdings.held(steps, recording, matched, arrays)
        learns = [trained(suspect, network, steps, images, weights)] if training else []
    if optimizer is not None:
        learns.append(stepped(suspect, optimizer, settings or {}, seed))
    layers = list(_differences(steps, recording, matched, weights))
    same = layers[-1][1] <= explaining.TOLERANCES[recording.dtype]
    seen, case = _smallest(explaining.findings(steps, recording, matched, arrays, search=not same))
    of_training = [each for learned in learns for each in learned.findings if not _is_told(each, seen)]
    if seen and same:
        names = ", ".join(dict.fromkeys(each.layer for each in seen))
        notes, seen = [*notes, f"computed in another way, with the same result: {names}"], []
    layers = shown or layers
    return replace(
        found,
        difference=layers[-1][1],
        layers=tuple(layers),
        findings=tuple(_mended(steps, recording.framework, [*_exchanged([*held, *seen]), *of_training])),
        training={what: most for learned in learns for what, most in learned.differences.items()},
        notes=(*notes, *(note for learned in learns for note in learned.notes)),
        case=case if seen else None,
    )


def recognized(model: Any) -> spec.Network:
    """The network that a model is, told from its layers; raises SpecError where no config describes it."""
    suspect, reason = Suspect(model), None
    for channels, size in SIZES:
        try:
            recording = suspect.record(np.random.default_rng(0).random((1, channels, size, size), "float32"))
        except spec.SpecError as error:
            reason = reason or error
            continue
        config = structure.recognize(recording, suspect.arrays())
        config = config.model_copy(update=structure.numbers_of_norms(recording))
        return spec.build(config, variant_of(config) or config.family)
    raise spec.SpecError(f"{reason}; say with --as what it should be")


def _structure(
    network: spec.Network,
    steps: Sequence[Step],
    recording: Recording,
    matched: Matched,
    arrays: Mapping[str, np.ndarray],
) -> list[str]:
    """What differs in structure, in words; nothing where each layer with parameters has its partner, of its shape."""
    if computed := list(_computed(steps, recording, matched)):
        first, count = computed[0], len(computed)
        return [
            f"{count} weights are no parameters but computed in each pass, that of {first} the first: give them as such"
        ]
    missing = [number for number in matched.steps_left if steps[number].node.parameter_shapes()]
    more = [number for number in matched.calls_left if recording.calls[number].kind in PARAMETRIC]
    if not missing and not more and not any(_misshapen(steps, recording, matched, arrays)):
        return list(_out_of_order(steps, matched))
    try:
        found = structure.recognize(recording, arrays)
        told = structure.differences(network.config, found) if network.config else []
    except spec.SpecError:  # no config describes it
        told = []
    return told or structure.closest(recording, arrays, network)


def _computed(steps: Sequence[Step], recording: Recording, matched: Matched) -> Iterator[str]:
    """Layers whose weight the model makes anew in each pass, as weight_norm does: nothing can be put into it."""
    for number, call in sorted(matched.calls.items()):
        if isinstance(steps[number].node, Conv | Linear) and "weight" not in recording.calls[call].parameters:
            yield steps[number].path


def _misshapen(
    steps: Sequence[Step], recording: Recording, matched: Matched, arrays: Mapping[str, np.ndarray]
) -> Iterator[str]:
    """Layers of which an array has another number of values than it should have."""
    for number, call in matched.calls.items():
        for last, shape in steps[number].node.parameter_shapes().items():
            own = arrays.get(recording.calls[call].parameters.get(last, ""))
            if own is not None and own.size != int(np.prod(shape)):
                yield steps[number].path


def _out_of_order(steps: Sequence[Step], matched: Matched) -> Iterator[str]:
    """Layers that run before one whose output they should be made of; without parameters that may come to the same."""
    with_parameters = {number for number in matched.calls if steps[number].node.parameter_shapes()}

    def layers_before(number: int) -> Iterator[int]:
        for source in steps[number].sources if number != INPUT else ():
            yield from (source,) if source in with_parameters else layers_before(source)

    for number in sorted(with_parameters):
        late = [each for each in layers_before(number) if matched.calls[each] > matched.calls[number]]
        if late:
            yield f"{steps[number].path} runs before {steps[late[-1]].path}, it should run behind it"


def _up_to_logits(recording: Recording, steps: Sequence[Step]) -> tuple[Recording, list[str]]:
    """A softmax at the end of the model, where the network has none, is left out of the comparison, and told."""
    last = recording.calls[recording.output]
    if last.kind not in ("softmax", "log_softmax") or isinstance(steps[-1].node, Softmax):
        return recording, []
    note = f"the model ends in a {last.kind.replace('_', ' ')}, the network in logits: what comes before it is compared"
    return replace(recording, output=last.inputs[0]), [note]


def _differences(
    steps: Sequence[Step], recording: Recording, matched: Matched, weights: spec.Weights
) -> Iterator[tuple[str, float]]:
    """How far the model is from the network after each layer, all faults before it included; the logits come last."""
    run = Pass({name: array.astype("float64") for name, array in weights.items()})
    values = {INPUT: recording.images.astype("float64")}
    last = {source: number for number, step in enumerate(steps) for source in step.sources}
    for number, step in enumerate(steps):
        with np.errstate(all="ignore"):  # of exp, where a model's images are others
            values[number] = apply(step.node, *(values[source] for source in step.sources), run=run, path=step.path)
        if number in matched.calls:
            yield step.path, explaining.departure(values[number], recording.outputs[matched.calls[number]])
        for source in set(step.sources):
            if last[source] == number:
                del values[source]
    yield explaining.OUTPUT, explaining.departure(values[len(steps) - 1], recording.value(recording.output))


def _smallest(found: Iterable[Finding]) -> tuple[list[Finding], Case | None]:
    """The findings without their cases, and the smallest of these: all at once would fill the memory."""
    findings, smallest = [], None
    for each in found:
        if each.case is not None and (smallest is None or each.case.size < smallest.size):
            smallest = each.case
        findings.append(replace(each, case=None))
    return findings, smallest


def _is_told(found: Finding, before: Sequence[Finding]) -> bool:
    """Whether what departs in training departed in inference, too."""
    return found.where == TRAINS and found.layer in {each.layer for each in before}


def _exchanged(found: Sequence[Finding]) -> Iterator[Finding]:
    """A ReLU more before a batch norm and one less behind it are one fault, whatever the norm's own is."""
    behind = {}
    for i, first in enumerate(found):
        rest = [each for each in found[i + 1 : i + 3] if each.layer != first.layer]
        if _is(first, "relu_more") and rest and _is(rest[0], "relu_missing"):
            behind[id(first)] = rest[0]
    for each in found:
        if id(each) in behind:
            cause = Cause("norm_relu", "the ReLU comes before the batch norm, not behind it")
            after = max(each.after or 0.0, behind[id(each)].after or 0.0)
            yield replace(each, causes=(cause,), after=after)
        elif not any(each is other for other in behind.values()):
            yield each


def _is(found: Finding, key: str) -> bool:
    """Whether it is this fault, and no other besides, in what a layer is given."""
    return found.where == GIVEN and [cause.key for cause in found.causes] == [key]


def _mended(steps: Sequence[Step], framework: str, found: Iterable[Finding]) -> Iterator[Finding]:
    """With the framework's lines."""
    nodes = {step.path: step.node for step in steps} | {explaining.OUTPUT: steps[-1].node}
    for each in found:
        keys = tuple(cause.key for cause in each.causes)
        lines = each.lines or mending.lines(framework, nodes.get(each.layer), each.where, keys)
        yield replace(each, lines=lines)
