"""The framework's own line that mends a fault: what is right there, as one would write it by hand."""

from collections.abc import Mapping
from dataclasses import fields

from densenet_tools.diagnosis.findings import OPERATION, UPDATE
from spec.layers import Conv, MaxPool
from spec.tree import Node

# What each kind of layer is in each framework, its numbers those of the network.
LAYERS = {
    "torch": {
        "Conv": "nn.Conv2d({in_channels}, {out_channels}, {kernel_size}, {stride}, {padding}, bias={bias})",
        "BatchNorm": "nn.BatchNorm2d({channels}, eps={eps}, momentum={rate:g})",
        "Linear": "nn.Linear({in_features}, {out_features}, bias={bias})",
        "MaxPool": "nn.MaxPool2d({kernel_size}, stride={stride}, padding={padding})",
        "AvgPool": "nn.AvgPool2d({kernel_size}, stride={stride})",
        "GlobalAvgPool": "nn.AdaptiveAvgPool2d(1)",
    },
    "mxnet": {
        "Conv": "nn.Conv2D({out_channels}, {kernel_size}, strides={stride}, padding={padding}, use_bias={bias})",
        "BatchNorm": "nn.BatchNorm(epsilon={eps}, momentum={decay})",
        "Linear": "nn.Dense({out_features}, use_bias={bias})",
        "MaxPool": "nn.MaxPool2D({kernel_size}, strides={stride}, padding={padding})",
        "AvgPool": "nn.AvgPool2D({kernel_size}, strides={stride})",
        "GlobalAvgPool": "nn.GlobalAvgPool2D()",
    },
    "keras": {
        "Conv": 'layers.Conv2D({out_channels}, {kernel_size}, strides={stride}, padding="valid", use_bias={bias})',
        "BatchNorm": "layers.BatchNormalization(epsilon={eps}, momentum={decay})",
        "Linear": "layers.Dense({out_features}, use_bias={bias})",
        "MaxPool": 'layers.MaxPooling2D({kernel_size}, strides={stride}, padding="valid")',
        "AvgPool": 'layers.AveragePooling2D({kernel_size}, strides={stride}, padding="valid")',
        "GlobalAvgPool": "layers.GlobalAveragePooling2D(keepdims=True)",
    },
}
# What mends other causes; of a batch norm that is in training mode it is not the layer that is wrong.
LINES = {
    "training": {
        "torch": "model.eval()",
        "mxnet": "with autograd.predict_mode():",
        "keras": "model(x, training=False)",
    },
    "frozen_statistics": {
        "torch": "model.train()",
        "mxnet": "nn.BatchNorm(use_global_stats=False)",
        "keras": "layer.trainable = True",
    },
    "detached": {
        "torch": "x  # not x.detach(), nor within torch.no_grad()",
        "mxnet": "x  # not F.BlockGrad(x), nor within autograd.pause()",
        "keras": "x  # not ops.stop_gradient(x)",
    },
    "frozen": {
        "torch": "parameter.requires_grad = True",
        "mxnet": 'parameter.grad_req = "write"',
        "keras": "layer.trainable = True",
    },
    "relu_missing": {"torch": "x = F.relu(x)", "mxnet": "x = F.relu(x)", "keras": "x = layers.ReLU()(x)"},
    "activation": {"torch": "x = F.relu(x)", "mxnet": "x = F.relu(x)", "keras": "x = layers.ReLU()(x)"},
    "gate": {
        "torch": "x * torch.sigmoid(gate)[:, :, None, None]",
        "mxnet": "F.broadcast_mul(x, F.sigmoid(gate).expand_dims(2).expand_dims(3))",
        "keras": "layers.Multiply()([x, layers.Reshape((1, 1, -1))(ops.sigmoid(gate))])",
    },
    "concatenation": {
        "torch": "torch.cat([x, new], 1)",
        "mxnet": "F.concat(x, new, dim=1)",
        "keras": "layers.Concatenate(axis=-1)([x, new])",
    },
    "in_place": {"torch": "nn.ReLU(inplace=False)", "mxnet": "F.relu(x)", "keras": "layers.ReLU()"},
    "residual": {
        "torch": "F.relu(branch + shortcut)",
        "mxnet": "F.relu(branch + shortcut)",
        "keras": "layers.ReLU()(layers.Add()([branch, shortcut]))",
    },
    "flatten": {
        "torch": "torch.flatten(x, 1)",
        "mxnet": "F.flatten(x)",
        "keras": "layers.Flatten()(layers.Permute((3, 1, 2))(x))",
    },
    "kernel flipped": {
        "torch": "kernel.flip(2, 3)",
        "mxnet": "kernel.flip((2, 3))",
        "keras": "kernel[::-1, ::-1]",
    },
    "kernel height and width exchanged": {
        "torch": "kernel.permute(3, 2, 0, 1)  # (h, w, in, out) -> (out, in, h, w)",
        "mxnet": "kernel.transpose((3, 2, 0, 1))  # (h, w, in, out) -> (out, in, h, w)",
        "keras": "kernel.transpose(2, 3, 1, 0)  # (out, in, h, w) -> (h, w, in, out)",
    },
    "kernel axes (h, w, in, out) read as (out, in, h, w)": {
        "torch": "kernel.permute(3, 2, 0, 1)  # (h, w, in, out) -> (out, in, h, w)",
        "mxnet": "kernel.transpose((3, 2, 0, 1))  # (h, w, in, out) -> (out, in, h, w)",
        "keras": "kernel.transpose(2, 3, 1, 0)  # (out, in, h, w) -> (h, w, in, out)",
    },
    "matrix transposed": {"torch": "matrix.T", "mxnet": "matrix.T", "keras": "matrix.T"},
    "matrix (in, out) read as (out, in)": {
        "torch": "matrix.T  # (in, out) -> (out, in)",
        "mxnet": "matrix.T  # (in, out) -> (out, in)",
        "keras": "matrix.T  # (out, in) -> (in, out)",
    },
}
# The descent of spec.training; MXNet's own optimizers and Keras' are others.
OPTIMIZERS = {
    "torch": "torch.optim.SGD(model.parameters(), lr={learning_rate}, momentum={momentum}, nesterov={nesterov}, "
    "weight_decay={weight_decay})",
    "mxnet": "gluon.Trainer(net.collect_params(), densenet_mxnet.train.CoupledSGD({learning_rate}, {momentum}, "
    "{nesterov}, {weight_decay}), kvstore=None)",
    "keras": "densenet_keras.train.CoupledSGD({learning_rate}, {momentum}, {nesterov}, {weight_decay})",
}


def optimizer_line(framework: str, settings: Mapping[str, str]) -> str:
    """The one that makes the optimizer with these settings."""
    return OPTIMIZERS[framework].format(**settings)


def lines(framework: str, node: Node | None, where: str, causes: tuple[str, ...]) -> tuple[str, ...]:
    """The lines for these causes (keys) at a layer; those that no line mends have none."""
    found = [LINES[cause][framework] for cause in causes if cause in LINES]
    template = LAYERS[framework].get(type(node).__name__)
    if node and where in (OPERATION, UPDATE) and template and any(cause not in LINES for cause in causes):
        numbers = {each.name: getattr(node, each.name) for each in fields(node)}  # type: ignore[arg-type]
        line = template.format(**numbers, rate=round(1 - numbers.get("decay", 0), 12))
        padding = node.padding if isinstance(node, Conv | MaxPool) and framework == "keras" else 0
        found.append(f"layers.ZeroPadding2D({padding}), {line}" if padding else line)
    return tuple(dict.fromkeys(found))
