"""The pages do what they say: their tables are current, and their commands and code run as written, in turn."""

import contextlib
import io
import re
import runpy
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import spec
from densenet_tools.commands.app import app, main
from densenet_tools.data import fashion
from tests.data.support import write_folder, write_idx
from tests.support import FRAMEWORKS, loaded, require

DOCS = Path(__file__).parent.parent / "docs"
README = DOCS.parent / "README.md"
PAGE_NAMES = tuple(sorted(path.name for path in DOCS.glob("*.md")))
PAGES = {name: (DOCS / name).read_text(encoding="utf-8") for name in PAGE_NAMES}
BLOCKS = {
    name: re.findall(r"^```(console|python)\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)
    for name, page in PAGES.items()
}
PROMPT = "$ densenet "
MEASURED = re.compile(r"\d\.\d+e[+-]\d\d|\b\d+\.\d\d\b")  # differences and seconds
EXACT = "0.0e+00"  # that of the reference from itself


@dataclass
class Command:
    """One command of the page, with the output that stands below it; `...` is for any lines."""

    line: str
    shown: list[str]

    @property
    def status(self) -> int:
        """2 where what is shown is a refusal."""
        return 2 if self.shown and self.shown[0].startswith("densenet: ") else 0


def commands(block: str) -> list[Command]:
    """The commands of a console block."""
    found: list[Command] = []
    for line in filter(None, map(str.rstrip, block.splitlines())):
        if line.startswith(PROMPT):
            found.append(Command(line, []))
        else:
            found[-1].shown.append(line)
    return found


COMMANDS = {
    name: [command for language, block in blocks if language == "console" for command in commands(block)]
    for name, blocks in BLOCKS.items()
}


def test_commands_and_code_do_what_the_page_on_porting_shows(tmp_path, monkeypatch):
    """All of them, in the page's order, in one folder; in one test, as they need what those before them wrote."""
    for name in FRAMEWORKS:
        require(name)
    monkeypatch.chdir(tmp_path)
    torch, network = require("torch"), spec.variant("densenet121")
    weights = spec.randomize(spec.initialize(network, 0), 0)
    torch.save("densenet121.pth", loaded(torch, network, weights))
    names: dict[str, Any] = {}
    follow(BLOCKS["porting.md"], names)
    assert names["model"].network == names["checkpoint"].network == network
    assert names["checkpoint"].preprocessing == spec.Preprocessing()
    assert names["logits"].shape == (1, 1000)
    for file in ("densenet121.safetensors", "mine.safetensors"):
        found = spec.open(file).weights
        assert all((found[name] == array).all() for name, array in weights.items())


def test_commands_and_code_of_the_page_on_training_run(tmp_path, monkeypatch):
    """On small images in place of Fashion-MNIST's, and of photographs; figures of the real ones are in results.md."""
    for name in FRAMEWORKS:
        require(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fashion, "INSTALLED", write_idx(tmp_path / "idx", 64))
    write_folder(tmp_path / "photos", count=8)
    names: dict[str, Any] = {}
    follow(BLOCKS["training.md"], names)
    assert len(names["run"].state.history) == 1
    assert list(names["velocities"]) == [
        n for n in spec.parameter_shapes(names["model"].network) if not spec.is_buffer(n)
    ]
    for picture in ("curves", "confusion", "grid", "heatmap"):
        assert (tmp_path / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
    assert spec.open("runs/photos/best.safetensors").classes == ("cat", "dog", "fox")


def test_commands_of_the_page_on_results_are_understood():
    """They take hours; that they are typed right is seen without."""
    lines = re.findall(r"^\$ densenet (.*)$", PAGES["results.md"], flags=re.MULTILINE)
    assert {line.split()[0] for line in lines} == {"train", "evaluate", "predict", "plot", "heatmap"}
    for line in lines:
        app.parse_args(shlex.split(line), exit_on_error=False, print_error=False)


def test_commands_of_the_page_on_commands_run(tmp_path, monkeypatch):
    require("torch")
    monkeypatch.chdir(tmp_path)
    config = re.search(r"```toml\n# (my-network.toml)\n(.*?)```", PAGES["commands.md"], flags=re.DOTALL)
    (tmp_path / config[1]).write_text(config[2])
    follow(BLOCKS["commands.md"], {})


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_code_of_the_page_on_backends_runs_in_each(name):
    """The functions are the same: only the package's name is another."""
    require(name)
    names: dict[str, Any] = {}
    for _, block in BLOCKS["backends.md"]:
        exec(block.replace("densenet_keras  # or densenet_torch, densenet_mxnet", "densenet_keras  #").replace(
            "densenet_keras", f"densenet_{name}"
        ), names)  # fmt: skip
    assert names["logits"].shape == (4, 10)


def test_code_of_the_readme_runs_and_its_commands_are_understood():
    for name in FRAMEWORKS:
        require(name)
    page = README.read_text(encoding="utf-8")
    for block in re.findall(r"^```python\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE):
        exec(block, {})
    lines = re.findall(r"`densenet ([^`]+ [^`]+)`|^\$ densenet (.*)$", page, flags=re.MULTILINE)
    assert len(lines) >= 5
    for line in lines:
        app.parse_args(shlex.split(line[0] or line[1]), exit_on_error=False, print_error=False)


@pytest.mark.parametrize("page", [DOCS / "results.md", README], ids=lambda page: page.name)
def test_pictures_are_there_for_both_themes(page):
    pictures = re.findall(
        r'<source media="\(prefers-color-scheme: dark\)" srcset="(.*?)"><img alt="(.*?)" src="(.*?)">', page.read_text()
    )
    assert len(pictures) >= 2
    for dark, text, light in pictures:
        assert dark == light.replace(".png", "-dark.png")
        assert text
        for picture in (dark, light):
            assert (page.parent / picture).read_bytes().startswith(b"\x89PNG")


def follow(blocks: list[tuple[str, str]], names: dict[str, Any]) -> None:
    """Runs a page's commands and code in turn; a command shows what stands below it, where something does."""
    for language, block in blocks:
        if language == "python":
            exec(block, names)
            continue
        for command in commands(block):
            status, lines = run(command.line)
            shown = not command.shown or in_turn(command.shown, lines)
            assert (status, shown) == (command.status, True), "\n".join([command.line, *lines])


def run(line: str) -> tuple[int, list[str]]:
    """The exit status of a command, and the lines that it prints."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        status = main(shlex.split(line.removeprefix("$ "))[1:])
    return status, [line.rstrip() for line in output.getvalue().splitlines() if line.strip()]


def in_turn(shown: list[str], lines: list[str]) -> bool:
    """Whether the lines are those shown, but for measured figures; `...` stands for any number of them."""
    pattern = "".join(r"(?:.*\n)*?" if line == "..." else re.escape(figures_out(line)) + r"\n" for line in shown)
    return re.fullmatch(pattern, "".join(f"{figures_out(line)}\n" for line in lines)) is not None


def figures_out(line: str) -> str:
    """A line with `#` for what is measured anew each time."""
    return MEASURED.sub(lambda match: EXACT if match[0] == EXACT else "#", line)


def test_a_line_that_is_not_printed_is_noticed():
    assert in_turn(["a 1.0e-06", "...", "c 0.0e+00"], ["a 2.0e-07", "b", "b", "c 0.0e+00"])
    assert not in_turn(["a", "c"], ["a", "b", "c"])
    assert not in_turn(["...", "b"], ["a", "b", "c"])
    assert not in_turn(["a 0.0e+00"], ["a 1.0e-07"])


def test_the_page_has_a_walk_from_torchvision_to_the_others():
    destinations = [shlex.split(command.line)[4] for command in COMMANDS["porting.md"] if command.status == 0]
    assert destinations[:3] == ["densenet121.safetensors", "densenet121.keras", "densenet121.params"]


@pytest.fixture(scope="module")
def tables():
    for name in FRAMEWORKS:
        require(name)
    return runpy.run_path(str(DOCS / "tables.py"))


def test_tables_are_current(tables):
    assert tables["main"](["--check"]) == 0, "python docs/tables.py writes them"


def test_a_table_that_is_not_current_is_noticed(tables):
    page = PAGES["porting.md"]
    stale = page.replace("`conv1_conv`", "`conv1_convolution`")
    assert stale != page
    assert tables["current"]("porting.md", stale) == page
    with pytest.raises(ValueError, match="stands 0 times"):
        tables["current"]("porting.md", page.replace("<!-- generated: names -->", ""))


@pytest.mark.parametrize("name", [*PAGES, "../README.md", "../CHANGELOG.md"])
def test_links_on_a_page_are_to_files_that_there_are(name):
    page = DOCS / name
    found = re.findall(r"\]\(([^)]+)\)|(?:src|srcset)=\"([^\"]+)\"", page.read_text(encoding="utf-8"))
    links = [
        link.partition("#")[0] for pair in found for link in pair if link and not link.startswith(("https://", "#"))
    ]
    assert links
    assert [link for link in links if not (page.parent / link).exists()] == []
