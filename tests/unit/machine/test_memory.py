from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from tutelage.machine import memory
from tutelage.machine.memory import Peak, available, resident, total

MEGABYTE = 1_000_000


def apart(code: str) -> list[int]:
    """The numbers that the code prints in a process of its own: in one that has lived long, what
    others freed is used again before memory grows."""
    code = TOUCH + code
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [int(number) for number in done.stdout.split()]


TOUCH = """
from tutelage.machine.memory import Peak, resident

def touch(size):
    array = bytearray(size)
    array[::4096] = b"x" * len(range(0, size, 4096))  # pages that are really there
    return array

"""


def test_peak_sees_what_was_freed_before_the_end() -> None:
    code = """
with Peak() as peak:
    array = touch(200_000_000)
    del array
print(peak.before, peak.bytes, peak.above)
"""
    before, most, above = apart(code)
    assert 195 * MEGABYTE < above < 230 * MEGABYTE
    assert most == before + above


@pytest.mark.skipif(sys.platform != "linux", reason="the high-water mark is reset through /proc")
def test_a_block_does_not_see_an_earlier_peak() -> None:
    code = """
with Peak():
    touch(200_000_000)
with Peak() as later:
    touch(20_000_000)
print(later.above)
"""
    (above,) = apart(code)
    assert above < 60 * MEGABYTE


def test_sampling_where_there_is_no_mark_to_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    level, seen = [100], threading.Event()

    def reading() -> int:
        if level[0] == 900 and threading.current_thread().name == "memory-sampler":
            seen.set()
        return level[0]

    monkeypatch.setattr(memory, "_reset_high_water", lambda: False)
    monkeypatch.setattr(memory, "resident", reading)
    with Peak() as peak:
        level[0] = 900
        assert seen.wait(120)
        level[0] = 300
    assert (peak.before, peak.bytes, peak.above) == (100, 900, 800)
    assert "memory-sampler" not in [thread.name for thread in threading.enumerate()]


def test_peak_is_measured_when_the_block_fails() -> None:
    code = """
peak = Peak()
try:
    with peak:
        touch(50_000_000)
        raise KeyError
except KeyError:
    print(peak.above)
"""
    (above,) = apart(code)
    assert above > 45 * MEGABYTE


def test_resident_grows_by_what_is_touched() -> None:
    code = """
before = resident()
array = touch(100_000_000)
print(resident() - before)
"""
    (grown,) = apart(code)
    assert 95 * MEGABYTE < grown < 120 * MEGABYTE


def test_available_is_within_the_machine() -> None:
    assert 0 < available() <= total()
    assert resident() < total()


@pytest.mark.parametrize(
    ("listing", "folder", "names"),
    [
        ("0::/", "", ("memory.max", "memory.current")),
        ("0::/user.slice/run.scope", "user.slice/run.scope", ("memory.max", "memory.current")),
        ("0::/user.slice/run.scope", "user.slice", ("memory.max", "memory.current")),
        ("0::/elsewhere", "", ("memory.max", "memory.current")),
        (
            "5:cpu:/a\n4:memory:/a/b\n0::/",
            "memory/a/b",
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ),
    ],
)
def test_the_limit_of_any_container_around_counts(
    listing: str,
    folder: str,
    names: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "listing").write_text(listing)
    monkeypatch.setattr(memory, "_GROUPS", tmp_path / "listing")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path / "groups")
    inside = tmp_path / "groups" / folder
    inside.mkdir(parents=True)
    for name, number in zip(names, (3_000_000, 1_000_000), strict=True):
        (inside / name).write_text(f"{number}\n")
    assert total() == 3_000_000
    assert available() == 2_000_000


@pytest.mark.parametrize("words", ["max", str(2**63 - 4096)])
def test_a_container_without_a_limit_counts_for_nothing(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_GROUPS", tmp_path / "none")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path / "none")
    without = total()
    (tmp_path / "memory").mkdir()
    for file in (tmp_path / "memory.max", tmp_path / "memory" / "memory.limit_in_bytes"):
        file.write_text(words)
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert total() == without


@pytest.mark.skipif(sys.platform != "linux", reason="what a process has is told by /proc")
@pytest.mark.parametrize("which", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_a_limit_that_the_process_was_given_counts(which: str) -> None:
    code = f"""
import resource
from tutelage.machine.memory import available
resource.setrlimit(resource.{which}, (700_000_000, 700_000_000))
print(available())
array = bytearray(200_000_000)
print(available())
"""
    first, second = apart(code)
    assert 195 * MEGABYTE < first - second < 210 * MEGABYTE
    assert first < 700_000_000


def test_what_exhausted_memory_raises_is_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert memory.is_exhausted(caught.value)
    assert memory.is_exhausted(MemoryError())
    assert memory.is_exhausted(torch.OutOfMemoryError("CUDA out of memory"))
    assert memory.is_exhausted(OSError(12, "Cannot allocate memory"))
    assert not memory.is_exhausted(OSError(2, "No such file"))
    assert not memory.is_exhausted(RuntimeError("shapes do not match"))
    assert not memory.is_exhausted(ValueError("can't allocate memory"))


@pytest.mark.skipif(sys.platform != "linux", reason="page faults are counted as Linux does")
def test_freed_arrays_are_used_again_until_released() -> None:
    """In a process of its own: the setting lasts."""
    code = (
        "import resource, numpy, tutelage.machine.memory as memory\n"
        "def faults():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    numpy.ones(20_000_000)\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "plain = [faults() for _ in range(3)][-1]\n"
        "with memory.freed_memory_kept():\n"
        "    kept = [faults() for _ in range(3)][-1]\n"
        "print(plain, kept, [faults() for _ in range(3)][-1], memory.resident())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    plain, kept, after, resident = map(int, done.stdout.split())
    assert kept < plain / 10
    assert after > plain / 2, "not beyond its end"
    assert resident < 160_000_000, "given back"


SHAPES = """
import torch
from tutelage.machine.device import use_threads
from tutelage.machine.memory import release, resident

use_threads(1)
square = torch.zeros(64, 64, dtype=torch.bfloat16)
square @ square
release()
before = resident()
for rows in range(65, 365):
    torch.zeros(rows, 64, dtype=torch.bfloat16) @ square
release()
print(resident() - before)
"""


def test_products_of_many_shapes_are_not_all_kept() -> None:
    """By default each of 300 shapes leaves half a megabyte where the processor has the units."""
    done = subprocess.run(
        [sys.executable, "-c", SHAPES], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 90 * MEGABYTE


def test_a_limit_that_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
    code = (
        "from tutelage.machine.memory import keep_few_products as few; few(); import subprocess; "
    )
    code += "print(subprocess.run(['env'], capture_output=True, text=True).stdout)"
    for given, expected in ((None, str(memory.KEPT_PRODUCTS)), ("7", "7")):
        monkeypatch.delenv(name, raising=False)
        if given is not None:
            monkeypatch.setenv(name, given)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert f"{name}={expected}" in done.stdout.splitlines()
