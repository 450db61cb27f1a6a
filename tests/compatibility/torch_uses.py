"""What PyTorch's, torchvision's and timm's users do with a DenseNet."""

import copy
import inspect
import json
import pickle
import re
import shutil
import sys
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import distributed as dist, nn
from torch.ao import quantization
from torch.ao.quantization import quantize_fx
from torch.fx.experimental.optimization import fuse
from torch.nn import functional as F
from torch.nn.utils import prune
from torch.utils.flop_counter import FlopCounterMode

import densenet_torch
import spec
from tests.compatibility.uses import Ecosystem

ECOSYSTEM = Ecosystem("PyTorch, torchvision, timm", "torch")
use = ECOSYSTEM.use
ROOT = Path(spec.__file__).parent.parent
CHEXNET = "https://github.com/zoogzog/chexnet/issues/11"
FORUM, TUTORIALS = "https://discuss.pytorch.org/t", "https://docs.pytorch.org/tutorials"
TIMM = "https://www.huggingface.co/docs/timm/feature_extraction"


def small(**words) -> densenet_torch.ConvNet:
    """The DenseNet-121 that is three layers deep."""
    torch.manual_seed(0)
    words = {"growth_rate": 4, "block_config": [1, 2], "num_init_features": 8, "num_classes": 5} | words
    return densenet_torch.densenet121(**words)


def images(count: int = 2, size: int = 32, channels: int = 3) -> torch.Tensor:
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(1))


def same(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, labels: torch.Tensor) -> float:
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), labels)
    loss.backward()
    optimizer.step()
    return loss.item()


# Building


@use("torchvision's arguments", "https://github.com/pytorch/vision/pull/116")
def _():
    model = small(drop_rate=0.25, bn_size=2, progress=False, weights=None)
    layer = model.features.denseblock1.denselayer1
    assert (layer.dropout.p, layer.conv1.out_channels, model.features.conv0.out_channels) == (0.25, 8, 8)


@use("weights by name", "https://docs.pytorch.org/vision/stable/models", says="no weights are hosted or downloaded")
def _():
    densenet_torch.densenet121(weights="IMAGENET1K_V1")


@use(
    "pretrained=True", "https://github.com/pytorch/vision/pull/6025.patch", says="give weights the path of a checkpoint"
)
def _():
    densenet_torch.densenet121(pretrained=True)


@use(
    "positional pretrained, densenet121(True)",
    "https://github.com/pytorch/vision/pull/6025.patch",
    says="no weights are hosted or downloaded",
)
def _():
    densenet_torch.densenet121(False, progress=True)
    densenet_torch.densenet121(True)


@use("models listed and built by name", "https://docs.pytorch.org/vision/stable/models")
def _():
    assert {"densenet121", "densenet161", "densenet169", "densenet201"} <= set(densenet_torch.list_models())
    model = densenet_torch.get_model("densenet121", weights=None, block_config=[1], num_classes=7)
    assert model(images()).shape == (2, 7)


@use("torch.hub", "https://pytorch.org/docs/stable/hub.html")
def _():
    words = {"growth_rate": 4, "block_config": [1, 2], "num_classes": 5}
    model = torch.hub.load(ROOT, "densenet121", source="local", **words)
    assert model(images()).shape == (2, 5)


@use("images of other channels", "https://huggingface.co/docs/timm/models/densenet")
def _():
    assert small(in_chans=1)(images(channels=1)).shape == small(in_channels=6)(images(channels=6)).shape == (2, 5)


@use("the first convolution replaced, for gray images", "https://www.codetd.com/en/article/15094241")
def _():
    model, x = small().eval(), images(channels=1)
    expected = model(x.expand(-1, 3, -1, -1))
    summed = model.features.conv0.weight.sum(dim=1, keepdim=True)
    model.features.conv0 = nn.Conv2d(1, 8, kernel_size=7, stride=2, padding=3, bias=False)
    model.features.conv0.weight = nn.Parameter(summed)
    same(model(x), expected)
    same(torch.from_numpy(densenet_torch.predict(model, x.numpy())), expected)


@use("timm's norm_layer", "https://huggingface.co/docs/timm/models/densenet", says="norm_layer: unknown field, known:")
def _():
    small(norm_layer="groupnorm")


@use("a stem for small images", "https://github.com/pytorch/vision/pull/2593")
def _():
    model = small(stem={"kernel_size": 3, "stride": 1, "padding": 1, "pool": False})
    assert model.forward_features(images()).shape[2:] == (16, 16)
    model = small()
    model.features.conv0 = nn.Conv2d(3, 8, kernel_size=3, stride=1, padding=1, bias=False)
    model.features.pool0 = nn.Identity()
    assert model.forward_features(images()).shape[2:] == (16, 16)
    assert model(images(size=2)).shape == (2, 5)


@use(
    "images that are too small",
    "https://github.com/pytorch/vision/issues/1231",
    says="input 3x4x4 is too small for densenet121: the smallest that works is 3x5x5",
)
def _():
    small()(images(size=4))


@use("float64 by default", "https://docs.pytorch.org/docs/stable/generated/torch.set_default_dtype.html")
def _():
    torch.set_default_dtype(torch.float64)
    try:
        model = small()
    finally:
        torch.set_default_dtype(torch.float32)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}
    assert model(images().double()).dtype == torch.float64


@use("a model without storage, then weights assigned", f"{TUTORIALS}/recipes/recipes/module_load_state_dict_tips.html")
def _():
    state = small().state_dict()
    torch.save(state, "small.pth")
    with torch.device("meta"):
        model = small()
    assert model(images().to("meta")).shape == (2, 5)
    model.load_state_dict(torch.load("small.pth", mmap=True, weights_only=True), assign=True)
    same(model.eval()(images()), small().eval()(images()))


# Fine-tuning


@use("a new classifier on frozen features", "https://www.codegenes.net/blog/pytorch-densenet-transfer-learning")
def _():
    model, x = small(), images(4)
    for parameter in model.parameters():
        parameter.requires_grad = False
    model.classifier = nn.Linear(model.classifier.in_features, 3)
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.classifier.parameters(), lr=0.1, momentum=0.9)
    losses = [train(model, optimizer, x, torch.tensor([0, 1, 2, 0])) for _ in range(8)]
    assert losses[-1] < losses[0]
    changed = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert changed == {"classifier.weight", "classifier.bias"}


@use(
    "labels of a new classifier",
    "https://www.codegenes.net/blog/pytorch-densenet-transfer-learning",
    "lie between 0 and 2",
)
def _():
    model, x = small(), images().numpy()
    model.classifier = nn.Sequential(nn.Dropout(0.5), nn.Linear(model.classifier.in_features, 3))
    assert model.num_classes == 3
    optimizer = densenet_torch.sgd(model, 0.1)
    assert densenet_torch.step(model, optimizer, x, np.array([0, 2]))[1].shape == (2, 3)
    densenet_torch.step(model, optimizer, x, np.array([0, 3]))


@use(
    "a new classifier in a file for all frameworks", "https://www.codegenes.net/blog/pytorch-densenet-transfer-learning"
)
def _():
    model = small()
    model.classifier = nn.Linear(model.classifier.in_features, 3)
    spec.save("mine.safetensors", model.network, densenet_torch.export_weights(model))
    opened = densenet_torch.from_file("mine.safetensors")
    same(opened.eval()(images()), model.eval()(images()))


@use(
    "one learning rate for features, another for the classifier",
    f"{FORUM}/different-learning-rate-for-different-type-of-module/8999/3",
)
def _():
    model = small()
    groups = [{"params": model.features.parameters(), "lr": 0.0}, {"params": model.classifier.parameters()}]
    before = model.features.conv0.weight.clone(), model.classifier.weight.clone()
    train(model, torch.optim.AdamW(groups, lr=0.1), images(), torch.tensor([0, 1]))
    assert torch.equal(model.features.conv0.weight, before[0])
    assert not torch.equal(model.classifier.weight, before[1])


@use("batch norms frozen", f"{FORUM}/what-does-requires-grad-false-on-batchnorm2d-perform/137904")
def _():
    model = small().train()
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.eval().requires_grad_(False)
    before = copy.deepcopy(dict(model.named_buffers()))
    train(model, torch.optim.SGD(model.parameters(), lr=0.1), images(), torch.tensor([0, 1]))
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())
    assert model.features.norm0.weight.grad is None
    assert model.features.conv0.weight.grad is not None


@use(
    "schedules, clipped gradients, label smoothing",
    f"{FORUM}/different-learning-rate-for-different-type-of-module/8999/3",
)
def _():
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=2)
    F.cross_entropy(model(images()), torch.tensor([0, 1]), label_smoothing=0.1).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
    assert nn.utils.get_total_norm(p.grad for p in model.parameters()) < 1.001e-3
    optimizer.step()
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == 0.05


@use(
    "an average of the weights (EMA)",
    "https://pytorch.org/docs/stable/generated/torch.optim.swa_utils.AveragedModel.html",
)
def _():
    model = small()
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.5))
    average.update_parameters(model)
    first = model.classifier.weight.clone()
    train(model, torch.optim.SGD(model.parameters(), lr=1.0), images(), torch.tensor([0, 1]))
    average.update_parameters(model)
    same(average.module.classifier.weight, (first + model.classifier.weight) / 2)
    torch.optim.swa_utils.update_bn([images(8)], average)
    assert densenet_torch.predict(average, images().numpy()).shape == (2, 5)


@use("memory_efficient", "https://github.com/pytorch/vision/issues/2221")
def _():
    """The same gradients and running statistics, of what is kept in memory less."""
    models = small(drop_rate=0.2), small(drop_rate=0.2, memory_efficient=True)
    kept = []
    for model in models:
        sizes: dict[int, int] = {}

        def pack(tensor, sizes=sizes):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        torch.manual_seed(1)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = F.cross_entropy(model(images()), torch.tensor([0, 1]))
        kept.append(sum(sizes.values()))
        loss.backward()
    for name, parameter in models[0].named_parameters():
        same(models[1].get_parameter(name).grad, parameter.grad)
    for name, buffer in models[0].named_buffers():
        same(models[1].get_buffer(name), buffer)
    assert kept[1] < kept[0]


@use("uncertainty by dropout in inference", "https://github.com/pytorch/pytorch/pull/17549")
def _():
    model, x = small(drop_rate=0.5).eval(), images()
    assert torch.equal(model(x), model(x))
    for dropout in (module for module in model.modules() if isinstance(module, nn.Dropout)):
        dropout.train()
    assert not torch.equal(model(x), model(x))


@use("weight pruning", f"{TUTORIALS}/intermediate/pruning_tutorial.html")
def _():
    model = small().eval()
    prune.l1_unstructured(model.features.denseblock2.denselayer1.conv1, "weight", amount=0.5)
    model(images())
    prune.remove(model.features.denseblock2.denselayer1.conv1, "weight")
    assert (model.features.denseblock2.denselayer1.conv1.weight == 0).float().mean() == 0.5
    assert set(model.state_dict()) == set(small().state_dict())


@use("per-sample gradients", f"{TUTORIALS}/intermediate/per_sample_grads.html")
def _():
    model, x, labels = small().eval(), images(), torch.tensor([0, 1])
    parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())

    def loss(parameters, image, label):
        logits = torch.func.functional_call(model, (parameters, buffers), (image[None],))
        return F.cross_entropy(logits, label[None])

    found = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(parameters, x, labels)
    for i in range(2):
        alone = torch.autograd.grad(loss(parameters, x[i], labels[i]), model.classifier.weight)[0]
        same(found["classifier.weight"][i], alone)


# Features


@use("forward_features, forward_head", TIMM)
def _():
    model, x = small().eval(), images()
    features = model.forward_features(x)
    assert features.shape == (2, model.num_features, 4, 4)
    same(features, F.relu(model.features(x)))
    same(model.forward_head(features), model(x))
    same(model.forward_head(features, pre_logits=True), features.mean(dim=(2, 3)))


@use("no classifier: num_classes=0, global_pool", TIMM)
def _():
    whole, x = small().eval(), images()
    features = whole.forward_features(x)
    for pool, expected in {"avg": features.mean((2, 3)), "max": features.amax((2, 3)), "": features}.items():
        model = small(num_classes=0, global_pool=pool).eval()
        model.load_state_dict(whole.state_dict(), strict=False)
        same(model(x), expected)


@use("reset_classifier, get_classifier", TIMM)
def _():
    model, x = small().eval(), images()
    model.reset_classifier(0, "max")
    same(model(x), model.forward_features(x).amax(dim=(2, 3)))
    model.reset_classifier(7)
    assert model.get_classifier().out_features == model.num_classes == 7
    same(model(x), model.get_classifier()(model.forward_features(x).mean(dim=(2, 3))))


@use(
    "logits of another global pool",
    TIMM,
    says="global_pool should be 'avg', as its classifier takes averages, found 'catavgmax'",
)
def _():
    small(global_pool="catavgmax")


@use("features_only, feature_info", "https://huggingface.co/timm/densenet201.tv_in1k")
def _():
    """The layers, channels and reductions that timm's densenet121 has, the ReLU behind its norms included."""
    whole = densenet_torch.densenet121()
    assert whole.feature_info.channels() == [64, 256, 512, 1024, 1024]
    assert whole.feature_info.reduction() == [2, 4, 8, 16, 32]
    model, backbone = small().eval(), small(features_only=True, out_indices=(0, -1)).eval()
    first, last = backbone(images())
    same(first, F.relu(model.features[:2](images())))
    same(last, model.forward_features(images()))
    assert [x.shape[1] for x in (first, last)] == backbone.feature_info.channels() == [8, (8 + 4) // 2 + 4 + 4]


@use("cut before the last layer", "https://www.codegenes.net/blog/pytorch-remove-last-layer")
def _():
    model, x = small().eval(), images()
    expected = model.forward_features(x).mean(dim=(2, 3))
    same(nn.Sequential(*list(model.children())[:-1])(x), expected)
    same(model[:-1](x), expected)
    same(model.features.denseblock2[:1](model.features[:6](x)), model.features.denseblock2[0](model.features[:6](x)))
    model.classifier = nn.Identity()
    same(model(x), expected)
    del model[-1]
    same(model(x), expected)


@use("hooks on layers", "https://www.codegenes.net/blog/how-to-extract-output-features-of-pretrained-model-pytorch")
def _():
    model, x = small().eval(), images()
    outputs = {}
    for name, layer in model.features.named_children():
        layer.register_forward_hook(lambda layer, inputs, output, name=name: outputs.update({name: output}))
    model(x)
    same(outputs["norm5"], model.features(x))
    assert outputs["denseblock1"].shape[1] == 8 + 4


@use("torchvision's create_feature_extractor: torch.fx", "https://pytorch.org/vision/stable/feature_extraction.html")
def _():
    model, x = small(squeeze_excitation={"placement": ["layer"], "ratio": 2}).eval(), images()
    traced = torch.fx.symbolic_trace(model)
    same(traced(x), model(x))
    nodes = {str(node.target) for node in traced.graph.nodes}
    assert {"features.denseblock2.denselayer2.conv2", "features.transition1.pool", "classifier"} <= nodes


@use("Grad-CAM on the last features", "https://github.com/pytorch/vision/issues/4164")
def _():
    """Where gradients of the class are all the same at every place, so is the map, up to its sign."""
    model, x = small().eval(), images(1).requires_grad_()
    kept = {}
    model.features.register_forward_hook(lambda layer, inputs, output: kept.update(activation=output))
    model.features.register_full_backward_hook(lambda layer, inputs, outputs: kept.update(gradient=outputs[0]))
    model(x)[0, 3].backward()
    expected = model.classifier.weight[3] / 16  # of an average over 4x4 places
    same(kept["gradient"], expected[None, :, None, None] * (kept["activation"] > 0))
    cam = F.relu((kept["gradient"].mean(dim=(2, 3), keepdim=True) * kept["activation"]).sum(dim=1))
    assert cam.shape == (1, 4, 4)


@use("Grad-CAM on a dense layer", "https://github.com/jacobgil/pytorch-grad-cam/issues/147")
def _():
    model = small().eval()
    kept = []
    model.features[-2][-1].register_full_backward_hook(lambda layer, inputs, outputs: kept.append(outputs[0]))
    model(images(1).requires_grad_())[0, 3].backward()
    assert kept[0].abs().sum() > 0


@use("saliency: gradients by the image", "https://github.com/frgfm/torch-cam/issues/72")
def _():
    model, x = small().eval(), images(1).requires_grad_()
    model(x)[0, 3].backward()
    step = 1e-3 * x.grad / x.grad.norm()
    change = (model(x + step) - model(x - step))[0, 3] / 2e-3
    torch.testing.assert_close(change, x.grad.norm(), rtol=0.05, atol=1e-4)


@use("an image beside other data", "https://www.codegenes.net/blog/pytorch-concat-convolutional-and-vector-inputs")
def _():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = small(num_classes=0)
            self.head = nn.Linear(self.backbone.num_features + 2, 3)

        def forward(self, x, data):
            return self.head(torch.cat([self.backbone(x), data], dim=1))

    model, data = Both(), torch.ones(2, 2)
    assert model(images(), data).shape == (2, 3)
    assert torch.equal(torch.fx.symbolic_trace(model.eval())(images(), data), model(images(), data))


@use(
    "several heads on one backbone",
    "https://campus.datacamp.com/courses/intermediate-deep-learning-with-pytorch/multi-input-multi-output-architectures?ex=1",
)
def _():
    backbone = small()
    heads = nn.ModuleDict({"kind": nn.Linear(backbone.num_features, 3), "age": nn.Linear(backbone.num_features, 1)})
    pooled = backbone.forward_head(backbone.forward_features(images()), pre_logits=True)
    (heads["kind"](pooled).sum() + heads["age"](pooled).sum()).backward()
    assert all(p.grad is not None for p in backbone.features.parameters())


@use(
    "multiply-adds and parameters, counted",
    "https://pytorch.org/vision/stable/models/generated/torchvision.models.densenet169.html",
)
def _():
    """As torchvision's page has them; PyTorch takes a multiply-add for two operations."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        model = densenet_torch.densenet169().eval()
        model(torch.empty(1, 3, 224, 224))
    assert round(counter.get_total_flops() / 2e9, 2) == 3.36
    assert sum(parameter.numel() for parameter in model.parameters()) == 14_149_480
    assert model.network.min_size == 29


# Checkpoints


@use(
    "a checkpoint of a training that goes on",
    f"{TUTORIALS}/recipes/recipes/saving_and_loading_a_general_checkpoint.html",
)
def _():
    def started():
        model = small()
        return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    (model, optimizer), (other, later) = started(), started()
    train(model, optimizer, images(), torch.tensor([0, 1]))
    torch.save({"model_state_dict": model.state_dict(), "optimizer_state_dict": optimizer.state_dict()}, "run.pth")
    saved = torch.load("run.pth", weights_only=True)
    other.load_state_dict(saved["model_state_dict"])
    later.load_state_dict(saved["optimizer_state_dict"])
    for each, by in ((model, optimizer), (other, later)):
        train(each, by, images(), torch.tensor([2, 3]))
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values()))


@use("a checkpoint under state_dict, saved by DataParallel", "https://github.com/pytorch/pytorch/issues/3805")
def _():
    model, words = small(), {"growth_rate": 4, "block_config": [1, 2], "num_init_features": 8, "num_classes": 5}
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, "parallel.pth")
    save_file(state, "parallel.safetensors")
    for name in ("parallel.pth", "parallel.safetensors"):
        loaded = densenet_torch.densenet121(weights=name, **words)
        same(loaded.eval()(images()), model.eval()(images()))


@use("keys of 2017: norm.1, conv.2", CHEXNET)
def _():
    model = small().eval()
    old = {name: value for name, value in model.state_dict().items() if "num_batches_tracked" not in name}
    old = {re.sub(r"(norm|conv)([12])\.", r"\1.\2.", name): value for name, value in old.items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    other = small(num_classes=5)
    other.load_state_dict(old)
    same(other.eval()(images()), model(images()))


@use("all but the classifier of a checkpoint", CHEXNET)
def _():
    model, other = small(), small(num_classes=3)
    state = {name: value for name, value in model.state_dict().items() if not name.startswith("classifier")}
    missing, unexpected = other.load_state_dict(state, strict=False)
    assert (missing, unexpected) == (["classifier.weight", "classifier.bias"], [])
    same(other.forward_features(images()), model.forward_features(images()))


@use("timm's model.safetensors", "https://huggingface.co/timm/densenet121.tv_in1k/tree/main")
def _():
    """With num_batches_tracked, as timm and safetensors.torch write them."""
    model = small()
    model.features.norm0.num_batches_tracked += 1
    save_file(model.state_dict(), "model.safetensors")
    words = {"growth_rate": 4, "block_config": [1, 2], "num_init_features": 8, "num_classes": 5}
    loaded = densenet_torch.densenet121(weights="model.safetensors", **words)
    same(loaded.eval()(images()), model.eval()(images()))


@use("save_pretrained, from_pretrained", "https://huggingface.co/docs/huggingface_hub/v0.17.3/package_reference/mixins")
def _():
    model = small()
    model.save_pretrained("folder")
    assert json.loads(Path("folder/config.json").read_text())["architecture"] == "densenet121"
    assert load_file("folder/model.safetensors").keys() <= model.state_dict().keys()
    loaded = densenet_torch.ConvNet.from_pretrained("folder")
    assert not loaded.training
    same(loaded(images()), model.eval()(images()))


@use(
    "push_to_hub without huggingface_hub",
    "https://huggingface.co/docs/huggingface_hub/v0.17.3/package_reference/mixins",
    says="pip install huggingface_hub",
)
def _():
    with mock.patch.dict(sys.modules, {"huggingface_hub": None}):
        small().push_to_hub("me/small")


@use(
    "push_to_hub, from_pretrained of a repository",
    "https://huggingface.co/docs/huggingface_hub/v0.17.3/package_reference/mixins",
)
def _():
    """With a stand-in for the Hub, which keeps a repository as a folder."""
    hub = mock.Mock()
    hub.HfApi().create_repo.return_value.repo_id = "me/small"
    hub.HfApi().upload_folder.side_effect = lambda repo_id, folder_path, **_: shutil.copytree(
        folder_path, "hub/me/small"
    )
    hub.snapshot_download.side_effect = lambda name, **_: f"hub/{name}"
    model = small()
    with mock.patch.dict(sys.modules, {"huggingface_hub": hub}):
        model.push_to_hub("me/small", private=True, commit_message="first")
        loaded = densenet_torch.ConvNet.from_pretrained("me/small", revision="main")
    same(loaded(images()), model.eval()(images()))
    assert hub.snapshot_download.call_args.kwargs["revision"] == "main"


@use("copies and pickles", "https://github.com/pytorch/vision/pull/474")
def _():
    model, x = small().eval(), images()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        same(other(x), model(x))
        assert other.network == model.network


# Other ways to run it


@use("bfloat16 by autocast", "https://pytorch.org/docs/stable/amp.html")
def _():
    model, x = small(), images()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = F.cross_entropy(model(x), torch.tensor([0, 1]))
    loss.backward()
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in model.parameters())


@use("a model in float16, in bfloat16", "https://pytorch.org/docs/stable/amp.html")
def _():
    model, x = small().eval(), images().numpy()
    expected = densenet_torch.predict(model, x)
    for dtype, tolerance in {torch.float16: 5e-3, torch.bfloat16: 5e-2}.items():
        narrow = copy.deepcopy(model).to(dtype)
        found = densenet_torch.predict(narrow, x)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=tolerance * abs(expected).max())
        assert densenet_torch.trace(narrow, x)["relu"].dtype == np.float32
        weights = densenet_torch.export_weights(narrow)
        densenet_torch.load_weights(narrow, weights)
        assert all(
            np.array_equal(weights[name], array) for name, array in densenet_torch.export_weights(narrow).items()
        )


@use("channels last", f"{TUTORIALS}/intermediate/memory_format_tutorial.html")
def _():
    model, x = small().eval(), images()
    expected = model(x)
    model = model.to(memory_format=torch.channels_last)
    x = x.to(memory_format=torch.channels_last)
    same(model(x), expected)
    assert model.forward_features(x).is_contiguous(memory_format=torch.channels_last)


@use("torch.compile of a fresh model, as one graph", "https://github.com/pytorch/pytorch/pull/111906")
def _():
    torch.compiler.reset()
    model, x = small().eval(), images()
    same(torch.compile(model, fullgraph=True, backend="eager")(x), model(x))
    model.compile(fullgraph=True, backend="eager", dynamic=True)
    same(model(images(3, 40)), small().eval()(images(3, 40)))


@use("a step of training, compiled", "https://github.com/pytorch/pytorch/pull/111906")
def _():
    torch.compiler.reset()
    model, other = small(), small()
    compiled = torch.compile(other, fullgraph=True, backend="aot_eager")
    for each in (model, compiled):
        train(each, torch.optim.SGD(each.parameters(), lr=0.1), images(), torch.tensor([0, 1]))
    for name, value in model.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, rtol=1e-4, atol=1e-5)


@use(
    "torch.export, strict, for any batch and size",
    "https://docs.pytorch.org/TensorRT/user_guide/compilation/dynamic_shapes.html",
)
def _():
    dims = {0: torch.export.Dim("batch"), 2: torch.export.Dim("height", min=16), 3: torch.export.Dim("width", min=16)}
    model = small().eval()
    program = torch.export.export(model, (images(),), dynamic_shapes=(dims,), strict=True)
    torch.export.save(program, "small.pt2")
    same(torch.export.load("small.pt2").module()(images(3, 40)), model(images(3, 40)))


@use("torch.jit.script, saved and loaded", "https://github.com/pytorch/vision/issues/3027")
def _():
    for words in ({"drop_rate": 0.2}, {"bn_size": None}, {"memory_efficient": True}):
        model = small(**words).eval()
        torch.jit.script(model).save("small.pt")
        scripted = torch.jit.load("small.pt")
        for _ in range(3):  # what is optimized, it is after the first run
            same(scripted(images()), model(images()))


@use("torch.jit.trace, frozen", "https://github.com/pytorch/pytorch/pull/2450")
def _():
    model = small().eval()
    traced = torch.jit.freeze(torch.jit.trace(model, images()))
    same(traced(images(3, 40)), model(images(3, 40)))


@use("int8, post-training, by FX graph mode", f"{TUTORIALS}/prototype/fx_graph_mode_ptq_static.html")
def _():
    model, x = small().eval(), images(8)
    mapping = quantization.get_default_qconfig_mapping("x86")
    with warnings.catch_warnings(action="ignore"):  # PyTorch's, that it moves to torchao
        prepared = quantize_fx.prepare_fx(copy.deepcopy(model), mapping, (x,))
        prepared(x)
        quantized = quantize_fx.convert_fx(prepared)
    assert "Quantized" in str(quantized.features.denseblock1)
    expected = model(x)
    assert (quantized(x) - expected).norm() < 0.1 * expected.norm()


@use("int8 linear layers, dynamically", f"{TUTORIALS}/prototype/fx_graph_mode_ptq_static.html")
def _():
    model, x = small().eval(), images().numpy()
    with warnings.catch_warnings(action="ignore"):  # PyTorch's, that it moves to torchao
        quantized = quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    assert quantized.num_classes == 5
    np.testing.assert_allclose(densenet_torch.predict(quantized, x), densenet_torch.predict(model, x), atol=0.1)


@use(
    "convolutions fused with their batch norms",
    "https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.fusion.fuse_conv_bn_eval.html",
)
def _():
    model, x = small().eval(), images()
    with torch.no_grad():
        model.features.norm0.running_mean += 0.5
        expected = model(x)
        fused = fuse(model)
    assert not any(name.endswith("norm2") for name, _ in fused.named_modules()), "conv1, then norm2"
    same(fused(x), expected)


@use(
    "DistributedDataParallel, DataParallel",
    "https://gist.github.com/shuuchen/7463009370e9ddf77e649f3fec259024",
)
def _():
    model = small().eval()
    dist.init_process_group("gloo", init_method=f"file://{Path('group').absolute()}", rank=0, world_size=1)
    try:
        parallel = nn.parallel.DistributedDataParallel(model)
        parallel(images()).sum().backward()
        assert all(p.grad is not None for p in model.parameters())
        same(torch.from_numpy(densenet_torch.predict(parallel, images().numpy())), model(images()))
    finally:
        dist.destroy_process_group()
    same(nn.DataParallel(model)(images()), model(images()))


@use("its signature in help() and in editors", "https://docs.pytorch.org/vision/stable/models")
def _():
    signature = inspect.signature(densenet_torch.densenet121)
    assert {"weights", "progress", "memory_efficient"} <= set(signature.parameters)
    assert "drop_rate, num_init_features" in inspect.getdoc(densenet_torch.densenet121)
