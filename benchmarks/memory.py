"""The memory of this process, as Linux has it in /proc."""

from pathlib import Path

SELF = Path("/proc/self")


def resident() -> int:
    """Bytes that are in memory now."""
    return _bytes("VmRSS")


def peak() -> int:
    """The most bytes that were at once, since the process began or the last `forget_peak`."""
    return _bytes("VmHWM")


def forget_peak() -> None:
    """From now on the peak is that of what comes."""
    (SELF / "clear_refs").write_text("5")


def _bytes(field: str) -> int:
    lines = (SELF / "status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))
