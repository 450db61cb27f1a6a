"""What is said of a layer that departs: where it sits, what explains it, and what remains."""

from dataclasses import dataclass, field

from densenet_tools.diagnosis.failing import Case

HOLDS, GIVEN, OPERATION = "holds", "is given", "does"  # in what a layer departs
TRAINS, BACKWARD, UPDATE = "does in training", "passes back", "keeps as running statistics"
STEP = "moves"  # in what the optimizer departs
TRAINING = (TRAINS, BACKWARD, UPDATE, STEP)


@dataclass(frozen=True)
class Cause:
    """`key` is a key of mending.LINES, or that of a setting; `text` says it to a reader."""

    key: str
    text: str


@dataclass(frozen=True)
class Finding:
    """A layer departs by `before`, relative to the largest value that is right, and by `after` with the causes.

    `where` is one of those above; `layer` is the network's name, `own` the model's. Without causes nothing that
    was tried explains it, and `case` has it by itself. `lines` are the framework's own that mend it.
    """

    where: str
    before: float
    causes: tuple[Cause, ...] = ()
    after: float | None = None
    layer: str = ""
    own: str = ""
    lines: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    case: Case | None = field(default=None, repr=False, compare=False)
