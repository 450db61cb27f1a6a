"""Faults in ONNX graphs: of the other backends' those that show in inference."""

from onnx import NodeProto, helper


def find(model, name) -> NodeProto:
    return next(node for node in model.proto.graph.node if node.name == name)


def change(model, name, operator=None, inputs=None, **attributes):
    """Gives a node another operator, other inputs or attributes."""
    node = find(model, name)
    node.op_type = operator or node.op_type
    if inputs is not None:
        del node.input[:]
        node.input.extend(inputs)
    kept = [attribute for attribute in node.attribute if attribute.name not in attributes]
    del node.attribute[:]
    node.attribute.extend([*kept, *(helper.make_attribute(k, v) for k, v in attributes.items() if v is not None)])


def insert(model, before, operator, *inputs, **attributes):
    """Puts a node between another and its first input; `inputs` are what it reads besides."""
    node = find(model, before)
    place, name = list(model.proto.graph.node).index(node), f"{before}.before"
    model.proto.graph.node.insert(place, helper.make_node(operator, [node.input[0], *inputs], [name], **attributes))
    find(model, before).input[0] = name


def constant(model, name, value):
    model.proto.graph.node.insert(0, helper.make_node("Constant", [], [name], value_ints=value))


def swap_concatenation(model):
    concat = find(model, "features.denseblock1.denselayer2")
    change(model, concat.name, inputs=list(concat.input)[::-1])


def swap_norm_and_relu(model):
    insert(model, "features.transition1.norm", "Relu")
    change(model, "features.transition1.relu", "Identity")


def drop_last_relu(model):
    change(model, "relu", "Identity")


def same_padding(model):
    change(model, "features.conv0", auto_pad="SAME_UPPER", pads=None)


def ceil_mode(model):
    change(model, "features.transition1.pool", ceil_mode=1)


def pool_over_zeros(model):
    constant(model, "sides", [0, 0, 1, 1, 0, 0, 1, 1])
    insert(model, "features.pool0", "Pad", "sides")
    change(model, "features.pool0", pads=[0] * 4)


def squeeze_by_maximum(model):
    change(model, "features.se.pool", "GlobalMaxPool")


def stay_in_training_mode(model):
    norm = find(model, "features.norm5")
    change(model, norm.name, training_mode=1)
    norm.output.extend(["new_mean", "new_var"])


def flatten_channels_last(model):
    insert(model, "flatten", "Transpose", perm=[0, 2, 3, 1])


def project_nothing(model):
    """An identity shortcut where the stride asks for a projection: every second pixel, zeros for new channels."""
    constant(model, "sides", [0, 0, 0, 0, 0, 2, 0, 0])
    insert(model, "layer1.downsample.0", "Pad", "sides")
    shortcut = find(model, "layer1.downsample.0")
    change(model, shortcut.name, "MaxPool", inputs=[shortcut.input[0]], kernel_shape=[1, 1], pads=[0] * 4)


def add_after_relu(model):
    add = find(model, "layer1.add")
    branch, shortcut = add.input
    change(model, "layer1.add", "Relu", inputs=[branch])
    change(model, "layer1", "Add", inputs=["layer1.add", shortcut])


def exchange_branches(model):
    first, second, third, fourth = find(model, "a").input
    change(model, "a", inputs=[first, third, second, fourth])
