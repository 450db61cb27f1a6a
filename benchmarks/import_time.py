"""What importing each package costs, each in fresh processes: median of 5, and that of NumPy alone beside it.

Run with `python -m benchmarks.import_time`.
"""

import statistics
import subprocess
import sys

MODULES = ["numpy", "spec", "densenet_tools.commands.app", "densenet_torch", "densenet_mxnet", "densenet_keras"]
TIMER = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


def seconds(module: str) -> float:
    """The time that one import takes in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", TIMER.format(module)], capture_output=True, text=True, check=True, timeout=120
    )
    return float(done.stdout)


def main() -> None:
    """Takes turns, so that a change in the machine's speed meets all alike."""
    rounds = [{module: seconds(module) for module in MODULES} for _ in range(5)]
    medians = {module: statistics.median(times[module] for times in rounds) for module in MODULES}
    for module, median in medians.items():
        print(f"{module:20} {median:6.3f} s   {median - medians['numpy']:+6.3f} s over NumPy")


if __name__ == "__main__":
    main()
