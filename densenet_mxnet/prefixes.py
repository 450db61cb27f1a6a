"""Prefixes by structure: densenet0_features_denseblock1_denselayer1_conv1_weight.

By itself Gluon counts blocks, so that each model in a process would have other names, conv510_weight, and none that
`collect_params(".*denseblock1.*")` finds. Prefixes are in what `export` writes; `save_parameters` has names with dots.
"""

from collections import OrderedDict

from mxnet.gluon import Block


def rename(block: Block, prefix: str) -> None:
    """Gives a block this prefix, and all below it their names in it."""
    parameters, before = block.params, block.prefix
    for name in list(parameters):
        parameter = parameters._params.pop(name)
        parameter.name = prefix + name.removeprefix(before)
        parameters._params[parameter.name] = parameter
    parameters._prefix = block._prefix = prefix
    block._name = prefix.removesuffix("_")
    for name, child in block._children.items():
        rename(child, f"{prefix}{name}_")


def own_names(block: Block) -> None:
    """Gives a block and its parameters their own names again, where Gluon's `load` put another model's."""
    block._name = block.prefix.removesuffix("_")
    block.params._params = OrderedDict((parameter.name, parameter) for parameter in block.params.values())
    block._clear_cached_op()
