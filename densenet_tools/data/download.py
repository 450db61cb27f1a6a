"""Files from the network, checked before they are put in place."""

import gzip
import hashlib
import io
import os
import zlib
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from spec.errors import SpecError
from spec.files import replacing

LARGEST = 2**26  # bytes of a file, unpacked: more than the largest of Fashion-MNIST has
SILENCE = 30  # seconds that the network may be silent for


def cache() -> Path:
    """The folder for what can be had again, as the XDG Base Directory Specification says."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if os.path.isabs(root) else Path.home() / ".cache") / "densenet-reference"


def fetch(address: str, path: Path, digest: str) -> None:
    """Puts a gzip file in place if what it unpacks to has this SHA-256; raises SpecError where that cannot be done."""
    packed = _read(address)
    _check(address, packed, digest)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(f"{path.parent} cannot be made ({error.strerror})") from None
    with replacing(path) as beside:
        beside.write_bytes(packed)


def _read(address: str) -> bytes:
    try:
        with urlopen(address, timeout=SILENCE) as response:
            return response.read(LARGEST)
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise SpecError(f"{address} cannot be read ({getattr(reason, 'strerror', None) or reason})") from None


def _check(address: str, packed: bytes, digest: str) -> None:
    try:
        with gzip.open(io.BytesIO(packed)) as file:
            found = hashlib.sha256(file.read(LARGEST)).hexdigest()
    except (OSError, EOFError, zlib.error) as error:
        raise SpecError(f"{address} gives a damaged file ({error})") from None
    if found != digest:
        raise SpecError(f"{address} gives another file than expected (its SHA-256, unpacked, is {found})")
