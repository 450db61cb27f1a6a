"""What a diagnosis says."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from densenet_tools.diagnosis.failing import Case
from densenet_tools.diagnosis.findings import Finding


@dataclass(frozen=True)
class Diagnosis:
    """What was found of a model that should be `network`.

    `structure` has what differs before numbers are compared, a sentence each; then none are. `difference` is that of
    the logits, relative to the largest, and `layers` has that of each layer's output, by its name. `mapping` has pairs
    of the network's layer and the model's, `unmatched` what of the model found no partner. `training` has how far it is
    at most in "gradients", "running statistics" and the "optimizer step", where these were compared. `case` is the
    smallest part that nothing explains.
    """

    network: str
    framework: str
    dtype: str
    mapping: tuple[tuple[str, str], ...] = ()
    unmatched: tuple[str, ...] = ()
    structure: tuple[str, ...] = ()
    difference: float = 0.0
    layers: tuple[tuple[str, float], ...] = ()
    findings: tuple[Finding, ...] = ()
    training: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    case: Case | None = field(default=None, repr=False, compare=False)

    @property
    def agrees(self) -> bool:
        """Whether the model computes what the network does, whichever way."""
        return not self.structure and not self.findings
