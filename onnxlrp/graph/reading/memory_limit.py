"""Memory that loading may take, as the user or the machine limits it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ...errors import UsageError

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
# Files that say how much memory a container may use: cgroup 2, cgroup 1.
_CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def limit(given: int | str | None) -> int:
    """Return the bytes of "8G", "500M" or a number; by default what this machine has free.

    Raises:
        UsageError: The text is no size.
    """
    if given is None:
        return available()
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)\s*([KMGT]?)(?:i?B)?", str(given).strip(), re.IGNORECASE)
    if found is None or not float(found[1]):
        raise UsageError(f'the memory limit "{given}" is no size', "write it as in --max-memory 8G")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def available() -> int:
    """Return the bytes that a process may still take: of the machine, and of the container that it runs in."""
    found = [1 << 62]
    try:
        found.append(int(os.sysconf("SC_PHYS_PAGES")) * int(os.sysconf("SC_PAGE_SIZE")))
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        found += [int(kilobytes) << 10 for kilobytes in re.findall(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)]
    except (AttributeError, OSError, ValueError):
        pass  # not Linux: what is known so far
    for file in _CGROUPS:
        try:
            found.append(int(Path(file).read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue  # no such file, or "max"
    return min(found)


def size(count: int) -> str:
    """Return bytes as text, such as `1.5 GB`."""
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}" if count < 10**18 else f"{count:.0e} bytes"
    return f"{count} bytes"
