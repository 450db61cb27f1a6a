"""Faults in Keras layers, which a functional model calls one by one."""

from keras import ops


def get(model, name):
    return model.get_layer(name)


def swap_concatenation(model):
    layer = get(model, "features.denseblock1.denselayer2")
    concatenate = layer.call
    layer.call = lambda maps: concatenate(maps[::-1])


def detach_skip_connection(model):
    layer = get(model, "features.denseblock1.denselayer2")
    concatenate = layer.call
    layer.call = lambda maps: concatenate([ops.stop_gradient(maps[0]), maps[1]])


def swap_norm_and_relu(model):
    norm, relu = get(model, "features.transition1.norm"), get(model, "features.transition1.relu")
    normalize, rectify = norm.call, relu.call
    norm.call = lambda x, **options: normalize(rectify(x), **options)
    relu.call = lambda x: x


def drop_last_relu(model):
    get(model, "relu").call = lambda x: x


def same_padding(model):
    get(model, "features.conv0.pad").padding = ((2, 3), (2, 3))


def ceil_mode(model):
    """Keras has no such mode; "same" is it on odd sizes."""
    get(model, "features.transition1.pool").padding = "same"


def pool_over_zeros(model):
    pool = get(model, "features.pool0")
    maximum = pool.call
    pool.call = lambda x: maximum(ops.where(x < -1e300, ops.zeros_like(x), x))


def squeeze_by_maximum(model):
    get(model, "features.se.pool").call = lambda x: ops.max(x, axis=(1, 2), keepdims=True)


def stay_in_training_mode(model):
    norm = get(model, "features.norm5")
    normalize = norm.call
    norm.call = lambda x, training=None, mask=None: normalize(x, training=True)


def flatten_channels_last(model):
    get(model, "flatten.permute").call = lambda x: x


def project_nothing(model):
    """An identity shortcut where the stride asks for a projection: every second pixel, zeros for new channels."""
    conv = get(model, "layer1.downsample.0")
    project = conv.call
    conv.call = lambda x: ops.pad(x[:, ::2, ::2], ((0, 0), (0, 0), (0, 0), (0, 2))) + 0 * project(x)


def add_after_relu(model):
    add, relu = get(model, "layer1.add"), get(model, "layer1")
    rectify = relu.call
    add.call = lambda ends: rectify(ends[0]) + ends[1]
    relu.call = lambda x: x


def exchange_branches(model):
    layer = get(model, "a")
    concatenate = layer.call
    layer.call = lambda ends: concatenate([ends[0], ends[2], ends[1], ends[3]])
