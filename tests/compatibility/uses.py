"""Named uses of an ecosystem, in the order in which they are listed."""

from collections.abc import Callable
from dataclasses import dataclass, field

from spec import SpecError


@dataclass(frozen=True)
class Use:
    """`source` is the page that shows people doing it; `says` a part of the sentence with which it is refused."""

    name: str
    source: str
    run: Callable[[], None]
    says: str | None = None

    def result(self) -> str:
        """ "works", or the sentence that it ends in; anything else that it raises goes on."""
        try:
            self.run()
        except SpecError as error:
            return str(error)
        return "works"


@dataclass(frozen=True)
class Ecosystem:
    """A framework's users, and a list of what they do. Functions are added with `@ecosystem.use(name, source)`."""

    name: str
    backend: str
    uses: list[Use] = field(default_factory=list)

    def use(
        self, name: str, source: str, says: str | None = None
    ) -> Callable[[Callable[[], None]], Callable[[], None]]:
        """Adds a function that does it, on a small network, and asserts that the result is right."""

        def add(run: Callable[[], None]) -> Callable[[], None]:
            self.uses.append(Use(name, source, run, says))
            return run

        return add
