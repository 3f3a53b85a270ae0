"""The machine: which processor, how much of it this process may use, and how its threads wait for one another.

Nothing here imports PyTorch before it is asked about it, and nothing of ours is imported: every floor may ask.
"""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import MutableMapping
from functools import cache
from pathlib import Path, PurePosixPath

__all__ = [
    "LIMITS", "THREADS_SET_BY", "WAITING", "cores_allowed", "cpu_quota", "instruction_class", "instruction_flags",
    "machine", "memory", "prepare_threads", "processor",
]  # fmt: skip

# What tells a thread that has nothing to do to sleep instead of spinning, as each OpenMP runtime wants it. libgomp
# (PyTorch on Linux) reads the first two, LLVM's and Intel's libomp (macOS, conda) the first and the third. A few
# hundred turns, some microseconds, bridge the gaps within a step of a small network. Digits on two cores, pictures/s
# alone and beside a busy program: 0 turns 1,536 and 1,043, 700 turns 2,129 and 917; of libgomp's own 300,000 turns a
# small network keeps a quarter of its speed beside a busy program.
WAITING = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "700", "KMP_BLOCKTIME": "0"}
THREADS_SET_BY = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
# What makes a processor play a smaller one. The bits and the speed of a training depend on it.
LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS")
_CPUINFO, _MEMINFO = Path("/proc/cpuinfo"), Path("/proc/meminfo")
_CGROUPS, _MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def prepare_threads(environment: MutableMapping[str, str]) -> None:
    """Let threads that wait sleep, and be no more than the process may use. For a process that has no PyTorch yet.

    A thread that spins while it waits takes the core away from the one it waits for as soon as another program wants
    a core, too. What the user has set stays: one variable about waiting, and none of the three is touched.
    """
    if not any(name in environment for name in WAITING):
        environment.update(WAITING)
    if not any(name in environment for name in THREADS_SET_BY) and cores_allowed() < _cores_in_sight():
        environment["OMP_NUM_THREADS"] = str(cores_allowed())  # OpenMP knows affinity, and nothing of a quota


def cores_allowed() -> int:
    """Cores that this process may use: those it is bound to, and no more than a container's quota pays for."""
    quota = cpu_quota()
    return _cores_in_sight() if quota is None else max(1, min(_cores_in_sight(), int(quota + 0.5)))


def _cores_in_sight() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_quota(groups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> float | None:
    """Cores' worth of time that the control groups of this process grant it, such as 0.5; None where none do.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst, "cpu.max"; of version 1, scheduler/sched-bwc.rst.
    """
    found = []
    for line in _text(membership).splitlines():
        _, controllers, place = [*line.split(":", 2), "", ""][:3]
        inside = PurePosixPath(place.lstrip("/") or ".")
        for part in (inside, *inside.parents):  # a group has no more than the groups it lies in
            if not controllers:  # version 2: one tree
                found.append(_share(_text(groups / part / "cpu.max").split()))
            elif "cpu" in controllers.split(","):
                folder = groups / "cpu" / part
                found.append(_share([_text(folder / f"cpu.cfs_{word}_us").strip() for word in ("quota", "period")]))
    granted = [share for share in found if share is not None]
    return min(granted) if granted else None


def _share(words: list[str]) -> float | None:
    """["50000", "100000"] -> 0.5; None for "max", −1 and whatever is no pair of numbers."""
    try:
        quota, period = (int(word) for word in words)
    except ValueError:
        return None
    return quota / period if quota > 0 and period > 0 else None


def memory() -> tuple[int, int] | None:
    """(bytes in all, bytes free for new work), a control group's limit included; None where the system does not say."""
    facts = dict(line.partition(":")[::2] for line in _text(_MEMINFO).splitlines())
    try:
        whole, free = (int(facts[key].split()[0]) * 1024 for key in ("MemTotal", "MemAvailable"))
    except (KeyError, ValueError, IndexError):
        return None
    with contextlib.suppress(ValueError):
        limit = int(_text(_CGROUPS / "memory.max") or "max")
        used = int(_text(_CGROUPS / "memory.current") or "0")
        whole, free = min(whole, limit), min(free, max(0, limit - used))
    return whole, free


def processor() -> str:
    """The processor's name."""
    for line in _text(_CPUINFO).splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def instruction_flags() -> frozenset[str]:
    """What the processor says it can: "avx2", "avx512_bf16", "amx_bf16", on Arm "bf16"; empty where unknown."""
    for line in _text(_CPUINFO).splitlines():
        if line.startswith(("flags", "Features")):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def instruction_class(flags: frozenset[str] | None = None) -> str:
    """The class of processor that a claim about speed belongs to.

    >>> instruction_class(frozenset({"avx2"})), instruction_class(frozenset({"avx2", "avx512f", "avx512_bf16"}))
    ('AVX2', 'AVX-512 with bf16')
    """
    flags = instruction_flags() if flags is None else flags
    if platform.machine().lower() in ("arm64", "aarch64"):
        return "Arm with bf16" if "bf16" in flags else "Arm"
    if "avx512f" in flags:
        unit = "AMX" if "amx_bf16" in flags else "bf16" if "avx512_bf16" in flags else ""
        return f"AVX-512 with {unit}" if unit else "AVX-512"
    return "AVX2" if "avx2" in flags else "unknown"


@cache
def machine() -> dict[str, str]:
    """The machine and the versions that compute, as the report and the caches name them."""
    import torch

    return {
        "processor": processor(),
        "cores": str(os.cpu_count() or 1),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _text(path: Path) -> str:
    """What stands in a file of the system; nothing where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
