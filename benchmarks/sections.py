"""The sections of docs/performance.md: each makes lines of Markdown from one file of results."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.arithmetic import exponent, quartiles, ratio, slope
from benchmarks.series import axis, inference_series, measured, training_series

PICTURE = "pictures/performance{}.png"  # its end says for which theme
MIB, GIGA = 2**20, 1e9
MOST, LEAST = 5, 0.01  # operations of a profile, and the share of one


def inference(content: Mapping[str, Any]) -> Iterator[str]:
    """Milliseconds of all, ratios of ours, shares of the machine's peak, first calls and memory."""
    figures = content["figures"]
    yield from ("## Inference", "", f"{figures['network']}, {_how(content)}", "")
    batches = [batch for batch, _ in figures["points"]]
    yield from table(
        ["milliseconds, median [quartiles]", *(f"batch {batch}" for batch in batches)],
        (
            [_bold(name, each), *(_milliseconds(_point(each, batch)) for batch in batches)]
            for name, each in measured(figures)
        ),
    )
    yield ""
    yield from _beside(figures, batches)
    yield from ("", "### Of what the machine can do", "")
    peaks = ", ".join(f"{quartiles(rates)[1] / GIGA:.0f}" for rates in figures["rates"])
    yield (
        f"Products of 2048x2048 matrices ran at {peaks} GFLOP/s in the same rounds (medians of each batch). An image "
        f"takes {figures['multiply_adds'][0] / GIGA:.3f} billion multiply-adds, two operations each, as the network "
        "has them: an engine that has rewritten it needs fewer."
    )
    yield ""
    yield from table(
        ["GFLOP/s (share of that)", *(f"batch {batch}" for batch in batches)],
        (
            [_bold(name, each), *(_speed(figures, each, i) for i in range(len(batches)))]
            for name, each in measured(figures)
        ),
    )
    yield from ("", "### First calls, memory, differences", "")
    yield (
        "Seconds to import, build and load, as many engines at a time as there are cores, PyTorch's export included; "
        "of the first call, with one image, which compiles; the memory that the largest batch takes over what the "
        "process holds after that; and how far logits are at most from those of the first engine, relative to the "
        "largest."
    )
    yield ""
    yield from table(
        ["", "build, s", "first call, s", f"memory at batch {batches[-1]}, MiB", "difference"],
        (
            [
                _bold(name, each),
                f"{each['build']:.1f}",
                f"{each['first']:.1f}",
                _memory(_point(each, batches[-1])),
                f"{each['difference']:.0e}",
            ]
            for name, each in measured(figures)
        ),
    )
    yield from _gone(figures)


def training(content: Mapping[str, Any]) -> Iterator[str]:
    """Time and memory of a step."""
    figures = content["figures"]
    ((batch, size),) = figures["points"]
    yield from ("## Training", "", f"{figures['network']}, {_how(content)}", "")
    yield (
        f"A step of gradient descent with momentum: {batch} images of {size}x{size} pixels. Memory is the peak over "
        "what the process holds once it has made a step with two images. `mxnet` concatenates in three dimensions, "
        "since the backward pass of MXNet's concatenation in four [fails for some numbers of "
        "channels](../densenet_mxnet/concat.py)."
    )
    yield ""
    yield from table(
        ["", "milliseconds, median [quartiles]", "memory, MiB"],
        (
            [_bold(name, each), _milliseconds(_point(each, batch)), _memory(_point(each, batch))]
            for name, each in measured(figures)
        ),
    )
    yield ""
    rows = []
    for name, each, other, peer in _pairs(figures):
        ours, theirs = each["points"][0], peer["points"][0]
        memory = f"{ours['memory'] / theirs['memory']:.2f}"
        rows.append([name, other, f"{ratio(ours['seconds'], theirs['seconds']):.2f}", memory])
    yield from table(["ours", "beside", "time", "memory"], rows, words=2)
    yield from _gone(figures)


def growth(content: Mapping[str, Any]) -> Iterator[str]:
    """Pictures, and the slopes in them."""
    figures = content["figures"]
    light, dark = (PICTURE.format(suffix) for suffix in ("", "-dark"))
    yield from ("## How cost grows", "", f"In {_how(content)}", "")
    alt = "Time against the number of images, their size and depth; memory of a training step against depth"
    source = f'<source media="(prefers-color-scheme: dark)" srcset="{dark}">'
    yield f'<picture>{source}<img alt="{alt}" src="{light}"></picture>'
    yield ""
    yield (
        "The exponent p of cost = c n^p, by least squares in the logarithms: of n images, of n pixels along a side, of "
        "n layers in the three blocks of the CIFAR networks with growth rate 12; and what one more of these layers "
        "takes in a training step."
    )
    yield ""
    for title, unit in (("batch", "images"), ("size", "pixels along a side")):
        yield from table(
            [f"inference, {unit} {' '.join(str(at) for at in axis(figures[title], title))}", "exponent of time"],
            ([name, f"{exponent(*series):.2f}"] for name, series in inference_series(figures[title], title).items()),
        )
        yield ""
    depths, (batch, size) = figures["depth"], figures["depth"][0]["points"][0]
    yield from table(
        [
            f"training, {batch}x{size}x{size}, layers {' '.join(str(each['layers']) for each in depths)}",
            *("exponent of time", "exponent of memory", "MiB a layer", "ms a layer"),
        ],
        (
            [
                name,
                f"{exponent(layers, seconds):.2f}",
                f"{exponent(layers, memory):.2f}",
                f"{slope(layers, memory) / MIB:.1f}",
                f"{slope(layers, seconds) * 1e3:.1f}",
            ]
            for name, (layers, seconds, memory) in training_series(depths).items()
        ),
    )
    for each in (figures["batch"], figures["size"], *depths[:1]):
        yield from _gone(each)


def profiles(content: Mapping[str, Any]) -> Iterator[str]:
    """The operations that take most."""
    figures = content["figures"]
    yield from ("## Where the time goes", "")
    yield "Each executor by its framework's own profiler, one image of 224x224 pixels: the largest shares of all time."
    yield ""
    yield from table(
        ["", "operations", "ms in all"],
        (
            [name, _largest(seconds), f"{sum(seconds.values()) * 1e3:.0f}"]
            for name, seconds in figures["engines"].items()
        ),
        words=2,
    )
    yield from _gone(figures)


SECTIONS: dict[str, Callable[[Mapping[str, Any]], Iterator[str]]] = {
    "inference": inference,
    "training": training,
    "growth": growth,
    "profiles": profiles,
}


def table(header: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> Iterator[str]:
    """In Markdown; to the right what comes after so many columns of words."""
    for row in (header, ["---"] * words + ["---:"] * (len(header) - words), *rows):
        yield "| " + " | ".join(row) + " |"


def _how(content: Mapping[str, Any]) -> str:
    """On what it was measured, and in how many rounds."""
    machine, settings = content["machine"], content["options"]["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"float32, {settings['threads']} threads on {machine['cores']} cores ({machine['processor']}), "
        f"at most {settings['rounds']} rounds; {machine['date']}, {machine['system']}, "
        f"Python {machine['python']}, {versions}."
    )


def _point(each: Mapping[str, Any], batch: int) -> Mapping[str, Any] | None:
    return next((point for point in each["points"] if point["batch"] == batch), None)


def _pairs(figures: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], str, Mapping[str, Any]]]:
    """Each engine of ours with each that it is held beside."""
    there = dict(measured(figures))
    for name, each in there.items():
        for other in each["beside"]:
            if other in there:
                yield name, each, other, there[other]


def _beside(figures: Mapping[str, Any], batches: Sequence[int]) -> Iterator[str]:
    rows = []
    for name, each, other, peer in _pairs(figures):
        points = [(_point(each, batch), _point(peer, batch)) for batch in batches]
        rows.append([name, other, *(f"{ratio(a['seconds'], b['seconds']):.2f}" if a and b else "" for a, b in points)])
    yield from table(["ours", "beside", *(f"batch {batch}" for batch in batches)], rows, words=2)


def _bold(name: str, each: Mapping[str, Any]) -> str:
    return f"**{name}**" if each["ours"] else name


def _milliseconds(point: Mapping[str, Any] | None) -> str:
    if point is None:
        return ""
    first, median, third = (1e3 * each for each in quartiles(point["seconds"]))
    digits = 1 if median < 100 else 0
    return f"{median:.{digits}f} [{first:.{digits}f}-{third:.{digits}f}]"


def _speed(figures: Mapping[str, Any], each: Mapping[str, Any], i: int) -> str:
    point = _point(each, figures["points"][i][0])
    if point is None:
        return ""
    operations = 2 * figures["multiply_adds"][i] * point["batch"]
    rate = operations / quartiles(point["seconds"])[1]
    share = ratio([operations / seconds for seconds in point["seconds"]], figures["rates"][i])
    return f"{rate / GIGA:.0f} ({share:.0%})"


def _memory(point: Mapping[str, Any] | None) -> str:
    return f"{max(0, point['memory']) / MIB:.0f}" if point else ""


def _largest(seconds: Mapping[str, float]) -> str:
    """The operations that take most, as shares of all."""
    whole = sum(seconds.values())
    shares = {name: each / whole for name, each in sorted(seconds.items(), key=lambda item: -item[1])[:MOST]}
    return ", ".join(f"`{name}` {share:.0%}" for name, share in shares.items() if share >= LEAST)


def _gone(figures: Mapping[str, Any]) -> Iterator[str]:
    """Sentences on engines without figures."""
    for title, kind in (("Left out", "missing"), ("Failed", "failed")):
        if figures[kind]:
            yield from (
                "",
                f"{title}: " + "; ".join(f"{name} ({reason})" for name, reason in figures[kind].items()) + ".",
            )
