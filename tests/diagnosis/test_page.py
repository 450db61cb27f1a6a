"""The page of a diagnosis: it stands alone, whatever names a model has, and shows what is faulty where it is."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise
from math import inf, nan

import pytest

from densenet_tools.diagnosis import Diagnosis, diagnose
from densenet_tools.diagnosis.findings import GIVEN, HOLDS, OPERATION, Cause, Finding
from densenet_tools.diagnosis.page import STYLE, to_html
from densenet_tools.diagnosis.plot import HEIGHT, LABELS, LETTER, RIGHT, WIDTH
from densenet_tools.figures.canvas import THEMES
from tests.cases import small
from tests.support import require

VOID = ("meta", "br")  # elements that have no end
NASTY = "a</code><script src=//x.org/y>\"'&amp;\n\x00\x1b[2J\ud800"
SHOWN = "a</code><script src=//x.org/y>\"'&amp;\\n\\x00\\x1b[2J\\ud800"
EPS = Cause("eps", "eps 0.001")


def layers(*differences: float) -> tuple[tuple[str, float], ...]:
    return tuple((f"conv{i}", relative) for i, relative in enumerate(differences))


AGREES = Diagnosis("net", "torch", "float32", difference=1e-7, layers=layers(2e-7, 1e-7))
FAULTY = Diagnosis(
    *("net", "mxnet", "float32"),
    mapping=(("conv0", "their.conv"), ("conv1", "")),
    unmatched=("their.lambda (Lambda)",),
    difference=0.5,
    layers=layers(1e-6, 1e-2, 1e-1, 0.5),
    findings=(
        Finding(OPERATION, 1e-2, (EPS, Cause("bias", "no bias")), 2e-7, "conv1", "their.conv", ("nn.A()", "nn.B()")),
        Finding(GIVEN, 1e-1, layer="conv2"),
        Finding(HOLDS, 1e-3, (EPS,), 0.0, "conv3", "third"),
    ),
    notes=("a note",),
)
SHAPES = Diagnosis(
    *("net", "keras", "float64"),
    difference=inf,
    layers=layers(0.0, 1e-13, inf, nan),
    findings=(Finding(OPERATION, inf, (EPS,), 1e-15, "conv2"),),
)
STRUCTURE = Diagnosis("net", "torch", "float32", structure=("block_config (6, 12) expected, (6, 32) found",))
STRANGE = Diagnosis(
    *(NASTY, "torch", "float32"),
    mapping=(("conv0", NASTY),),
    unmatched=(NASTY,),
    layers=((NASTY, 1.0), ("output", 1.0)),
    findings=(Finding(OPERATION, 1.0, (Cause("key", NASTY),), 0.0, NASTY, NASTY, (NASTY,)),),
    notes=(NASTY,),
)
DIAGNOSES = {"agrees": AGREES, "faulty": FAULTY, "shapes": SHAPES, "structure": STRUCTURE, "strange": STRANGE}


@dataclass
class Element:
    """What a tag is, and all that is written in it."""

    tag: str
    attributes: dict[str, str]
    text: str = ""
    inside: list["Element"] = field(default_factory=list)

    def all(self, tag: str, kind: str | None = None) -> list["Element"]:
        """The elements in it of that tag, and class, in their order."""
        return [each for each in self.inside if each.tag == tag and kind in (None, each.attributes.get("class"))]


class Reader(HTMLParser):
    """Reads a page; raises AssertionError where an element that is closed is not the last that was opened."""

    def __init__(self, page: str):
        super().__init__()
        self.page = Element("page", {})
        self.open = [self.page]
        self.feed(page)
        self.close()
        assert self.open == [self.page], f"{self.open[-1].tag} is not closed"

    def handle_starttag(self, tag, attrs):
        element = Element(tag, dict(attrs))
        for each in self.open:
            each.inside.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open = self.open[:-1]

    def handle_endtag(self, tag):
        assert tag == self.open[-1].tag, f"{tag} closes {self.open[-1].tag}"
        self.open.pop()

    def handle_data(self, data):
        for each in self.open:
            each.text += data


def read(found: Diagnosis) -> Element:
    return Reader(to_html(found)).page


def plot(found: Diagnosis) -> Element:
    return read(found).all("svg", "plot")[0]


def dots(found: Diagnosis) -> list[tuple[float, float]]:
    return [(float(dot.attributes["cx"]), float(dot.attributes["cy"])) for dot in plot(found).all("circle")]


def places(found: Diagnosis, kind: str) -> dict[str, int]:
    """{what is said of a mark: the layer whose dot it is upon}"""
    at = {f"translate({x} {y})": number for number, (x, y) in enumerate(dots(found))}
    return {mark.text: at[mark.attributes["transform"]] for mark in plot(found).all("path", kind)}


@pytest.mark.parametrize("name", DIAGNOSES)
def test_a_page_is_well_formed_and_needs_nothing_else(name):
    html = to_html(DIAGNOSES[name])
    page = Reader(html).page
    assert [each.tag for each in page.inside[:2]] == ["html", "head"]
    assert {each.tag for each in page.inside} <= {
        *("html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "div", "ul", "li", "details", "summary"),
        *(
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "code",
            "br",
            "small",
            "svg",
            "path",
            "text",
            "polyline",
            "circle",
        ),
    }
    assert not {key for each in page.inside for key in each.attributes} & {"src", "href", "style", "onclick", "onload"}
    assert "url(" not in STYLE
    assert "@import" not in STYLE
    html.encode()


@pytest.mark.parametrize("page", ["<p><b>x</p>", "<p>x", "x</p>"])
def test_a_page_that_is_not_well_formed_would_be_noticed(page):
    with pytest.raises(AssertionError):
        Reader(page)


def test_names_of_strangers_are_text_and_nothing_else():
    page = read(STRANGE)
    assert [each.text for each in page.all("code")] == [SHOWN, SHOWN, SHOWN, "conv0", SHOWN]
    assert [each.text for each in page.all("li")] == [SHOWN, SHOWN]
    assert page.all("th")[5].text == f"explained 1 {SHOWN} in what the layer does"
    assert places(STRANGE, "explained") == {f"1 {SHOWN}": 0}
    assert [each.text for each in page.all("h1")] == [f"Diagnosis of {SHOWN}"]
    assert page.all("p")[0].text == f"The PyTorch model in float32 is not {SHOWN}: logits differ by 0"
    assert not page.all("script")


def test_a_model_that_agrees_has_a_curve_below_the_tolerance_and_no_findings():
    page = read(AGREES)
    assert page.all("p")[0].attributes["class"] == "verdict agrees"
    assert page.all("p")[0].text == "The PyTorch model in float32 is net: logits agree to 1.0e-07"
    assert [each.text for each in page.all("h2")] == ["Difference against depth"]
    assert all(y > height_of_tolerance(AGREES) for _, y in dots(AGREES))  # y points down
    assert not [each for each in page.all("path") if "explained" in each.attributes["class"]]


def height_of_tolerance(found: Diagnosis) -> float:
    (line,) = plot(found).all("path", "tolerance")
    return float(re.fullmatch(r"M\d+ ([\d.]+)H\d+", line.attributes["d"])[1])


def test_faulty_layers_are_marked_and_labelled_with_the_numbers_of_the_table():
    assert places(FAULTY, "explained") == {"1 conv1": 1, "3 conv3": 3}
    assert places(FAULTY, "unexplained") == {"2 conv2": 2}
    texts = [each.text for each in plot(FAULTY).all("text")]
    assert [text for text in texts if re.match(r"\d conv", text)] == ["3 conv3", "2 conv2", "1 conv1"]
    heads = [each for each in read(FAULTY).all("th") if "colspan" in each.attributes]
    assert [head.text.strip() for head in heads] == [
        "explained 1 eps 0.001; no bias in what the layer does",
        "not explained 2 nothing that was tried explains it in what the layer is given",
        "explained 3 eps 0.001 in what the layer holds",
    ]


def test_the_table_has_all_of_each_finding():
    (table,) = read(FAULTY).all("table", "findings")
    rows = [[cell.text for cell in row.all("td")] for row in table.all("tr")]
    assert [row for row in rows if row] == [
        ["conv1", "their.conv", "1.0e-02", "2.0e-07", "nn.A()nn.B()"],
        ["conv2", "-", "1.0e-01", "-", "-"],
        ["conv3", "third", "1.0e-03", "0", "-"],
    ]


def test_findings_of_one_cause_are_told_together():
    findings = [Finding(OPERATION, 0.1, (EPS,), 0.0, f"norm{i}", f"bn{i}") for i in range(3)]
    findings.insert(1, Finding(OPERATION, 0.1, (), None, "conv0"))
    names = tuple((each.layer, each.before) for each in findings)
    found = Diagnosis("net", "torch", "float32", layers=names, findings=tuple(findings))
    bodies = read(found).all("table", "findings")[0].all("tbody")
    assert [[row.all("td")[0].text for row in body.all("tr")[1:]] for body in bodies] == [
        ["norm0", "norm1", "norm2"],
        ["conv0"],
    ]
    assert places(found, "explained") == {"1 norm0": 0, "1 norm1": 2, "1 norm2": 3}
    assert "1 norm0 and 2 more" in [each.text for each in plot(found).all("text")]


def test_a_decade_is_as_high_everywhere():
    """1e-6, the tolerance 1e-5, 1e-2, 1e-1: one decade, then three, then one."""
    (_, lowest), (_, second), (_, third), _ = dots(FAULTY)
    decade = lowest - height_of_tolerance(FAULTY)
    assert decade > 10
    assert height_of_tolerance(FAULTY) - second == pytest.approx(3 * decade, abs=0.2)
    assert second - third == pytest.approx(decade, abs=0.2)


def test_what_has_no_logarithm_has_a_line_of_its_own():
    heights = [y for _, y in dots(SHAPES)]
    assert heights[0] == HEIGHT
    assert heights[2:] == [0, 0]
    assert 0 < height_of_tolerance(SHAPES) < heights[1] < HEIGHT
    texts = {each.text for each in plot(SHAPES).all("text", "end")}
    assert {"0", "∞", "tolerance 1e-12"} <= texts
    assert "∞ is another shape" in read(SHAPES).text
    assert "another shape or no number" in [each.text for each in read(SHAPES).all("td")]
    assert not {"0", "∞"} & {each.text for each in plot(FAULTY).all("text")}


@pytest.mark.parametrize("relative", [0.0, inf, 1e-5, 5e-324, 1.7e308])
def test_a_single_layer_of_any_difference_can_be_drawn(relative):
    found = Diagnosis("net", "torch", "float32", layers=(("conv", relative),))
    ((x, y),) = dots(found)
    assert 0 < x < WIDTH
    assert 0 <= y <= HEIGHT
    assert len(plot(found).all("text", "end")) <= 12


def test_a_dense_layers_own_fault_is_marked_at_the_last_layer_in_it():
    names = ("block.layer1.conv1", "block.layer1.conv2", "block.layer10.conv1")
    finding = Finding(OPERATION, 1.0, (EPS,), 0.0, "block.layer1")
    found = Diagnosis("net", "torch", "float32", layers=tuple((name, 1.0) for name in names), findings=(finding,))
    assert places(found, "explained") == {"1 block.layer1": 1}


def test_dense_blocks_are_named_below_the_plot():
    names = [f"features.{block}.layer{i}" for block in ("denseblock1", "transition1") for i in range(20)]
    found = Diagnosis("net", "torch", "float32", layers=tuple((name, 1.0) for name in names))
    texts = {each.text: float(each.attributes.get("x", 0)) for each in plot(found).all("text", "middle")}
    first, last = dots(found)[0][0], dots(found)[-1][0]
    assert texts["denseblock1"] == pytest.approx(first + (last - first) * 9.5 / 39, abs=0.2)
    assert texts["transition1"] == pytest.approx(first + (last - first) * 29.5 / 39, abs=0.2)


@pytest.mark.parametrize("apart", [1, 7, 40])
def test_no_label_lies_over_another_or_outside_or_under_a_line(apart):
    """But for those that end at the right edge: lines to layers above them may cross them."""
    names = [f"features.denseblock{i}.denselayer{i}.conv1" for i in range(200)]
    findings = tuple(Finding(GIVEN, 1.0, layer=name) for name in names[::apart])
    drawn = plot(Diagnosis("net", "torch", "float32", layers=tuple((name, 1.0) for name in names), findings=findings))
    labels = [each for each in drawn.all("text") if each.text.endswith(".conv1")]
    assert len(labels) == min(LABELS, len(findings))
    top, edge = float(drawn.attributes["viewbox"].split()[1]), WIDTH - RIGHT
    boxes = [(float(each.attributes["x"]), float(each.attributes["y"]), LETTER * len(each.text)) for each in labels]
    assert all(x >= 0 and x + width <= edge + 0.1 and top + 12 <= y < 0 for x, y, width in boxes)
    rows = {row: sorted((x, x + width) for x, y, width in boxes if y == row) for _, row, _ in boxes}
    assert all(end < start for row in rows.values() for (_, end), (start, _) in pairwise(row))
    lines = [re.match(r"M([\d.]+) (-?\d+)V", each.attributes["d"]) for each in drawn.all("path", "leader")]
    assert len(lines) == len(labels)
    for at, begin in ((float(line[1]), float(line[2])) for line in lines):
        assert not [x for x, y, width in boxes if y > begin and x < at < x + width < edge - 0.1]


def test_structure_is_told_instead_of_numbers():
    page = read(STRUCTURE)
    assert page.all("p")[0].text == "The PyTorch model in float32 is not net: its structure differs"
    assert page.all("p")[0].attributes["class"] == "verdict departs"
    assert [each.text for each in page.all("li")] == ["block_config (6, 12) expected, (6, 32) found"]
    assert not page.all("svg") + page.all("table") + page.all("h2")


def test_notes_and_the_mapping_are_there():
    page = read(FAULTY)
    (details,) = page.all("details")
    assert [cell.text for cell in details.all("td")] == ["conv0", "their.conv", "conv1", "-"]
    assert [each.text for each in details.all("li")] == ["their.lambda (Lambda)"]
    assert details.all("summary")[0].text == "2 layers with a partner, 1 of the model without"
    assert page.all("li")[0].text == "a note"


@pytest.mark.parametrize("theme", THEMES)
def test_colors_are_those_of_all_figures(theme):
    """Of which tests/figures/test_canvas.py shows that they stand out from what is behind."""
    light, dark = STYLE.split("@media (prefers-color-scheme: dark)")
    found = dict(re.findall(r"--(\w+): (#\w+)", light if theme == "light" else dark))
    colors = THEMES[theme]
    assert (found.pop("background"), found.pop("text"), found.pop("grid")) == (
        *(colors.background, colors.text, colors.grid),
    )
    assert found.pop("wrong") == colors.wrong
    assert set(found) == {"line", "right", "explained"}
    assert set(found.values()) <= set(colors.cycle)


def test_a_model_with_two_faults_has_both_marked_and_what_mends_them():
    network = small(bn_size=4, compression=0.5)
    model = require("torch").build(network)
    from torch import nn

    class Root(nn.Module):
        """What no cause is."""

        def forward(self, x):
            return x.abs().sqrt()

    model.features.norm0.eps = 1e-3
    model.features.transition1.conv = nn.Sequential(model.features.transition1.conv, Root())
    found = diagnose(model, network)
    assert places(found, "explained") == {"1 features.norm0": 1}
    assert list(places(found, "unexplained")) == ["2 features.transition1.pool"]
    assert "nn.BatchNorm2d(6, eps=1e-05, momentum=0.1)" in [each.text for each in read(found).all("code")]
    assert len(dots(found)) == len(found.layers) > 20
