"""Checkpoints: damaged ones are named and passed over, another request's are refused."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import nn

from tutelage.errors import RequestError
from tutelage.train import state
from tutelage.train.optimizer import adamw, optimizer_tensors


class Toy:
    """Two parameters whose values say how many steps were made."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.parameters = {"a": nn.Parameter(torch.zeros(3)), "b": nn.Parameter(torch.ones(2, 2))}
        self.optimizer = adamw(self.parameters, 0.1)
        self.notes: list[str] = []

    def step(self) -> None:
        for parameter in self.parameters.values():
            parameter.grad = torch.ones_like(parameter)
        self.optimizer.step()

    def save(self, folder: Path, step: int, request: str = "r") -> None:
        progress = state.Progress(step, 1.5 * step, 10 * step, ((1, 0.5, 2.0), (step, 1.5, 1.0)))
        state.save(folder, request, progress, self.parameters, self.optimizer)

    def resume(self, folder: Path, request: str = "r") -> state.Progress | None:
        return state.resume(folder, request, self.parameters, self.optimizer, self.notes.append)

    def values(self) -> dict[str, torch.Tensor]:
        moments = optimizer_tensors(self.optimizer, self.parameters)
        return {n: t.detach().clone() for n, t in {**self.parameters, **moments}.items()}


def saved(folder: Path, steps: list[int]) -> list[dict[str, torch.Tensor]]:
    toy, kept = Toy(), []
    for step in range(1, max(steps) + 1):
        toy.step()
        if step in steps:
            toy.save(folder, step)
            kept.append(toy.values())
    return kept


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(value, second[name]) for name, value in first.items()
    )


def test_what_is_saved_comes_back_bitwise(tmp_path: Path) -> None:
    kept = saved(tmp_path, [4])
    toy = Toy()
    found = toy.resume(tmp_path)
    assert found == state.Progress(4, 6.0, 40, ((1, 0.5, 2.0), (4, 1.5, 1.0)))
    assert same(toy.values(), kept[0])
    assert toy.notes == []


def test_nothing_saved_is_nothing(tmp_path: Path) -> None:
    assert Toy().resume(tmp_path) is None
    assert Toy().resume(tmp_path / "absent") is None


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    kept = saved(tmp_path, [1, 2, 9, 10, 11])
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["step-00000010", "step-00000011"]
    toy = Toy()
    toy.resume(tmp_path)
    assert same(toy.values(), kept[-1])


def test_another_request_is_refused(tmp_path: Path) -> None:
    saved(tmp_path, [2])
    with pytest.raises(RequestError) as caught:
        Toy().resume(tmp_path, "another")
    assert caught.value.field == str(tmp_path)
    assert same(Toy().values(), Toy().values())


@pytest.mark.parametrize(
    ("made_by", "asked", "only_code"),
    [
        ("a:1", "a:2", True),
        ("a:1", "b:1", False),
        ("a:1", "b:2", False),
        ("a", "a:1", False),
        (None, "a:1", False),
    ],
)
def test_that_only_the_code_changed_is_told(made_by: object, asked: str, only_code: bool) -> None:
    assert ("changed" in state.apart(made_by, asked)) == only_code


def files_of(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file())


def damaged_ways(file: Path) -> list[bytes]:
    content = file.read_bytes()
    middle = len(content) // 2
    flipped = bytearray(content)
    flipped[middle] ^= 16
    last = bytearray(content)
    last[-1] ^= 1
    return [b"", content[:middle], content[:-1], content + b"\0", bytes(flipped), bytes(last)]


def test_any_damage_falls_back_to_the_one_before(tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    kept = saved(origin, [3, 5])
    names = [file.name for file in files_of(origin / "step-00000005")]
    assert len(names) == 4
    for name in names:
        for way, content in enumerate([None, *damaged_ways(origin / "step-00000005" / name)]):
            folder = tmp_path / f"{name}-{way}"
            shutil.copytree(origin, folder)
            file = folder / "step-00000005" / name
            if content is None:
                file.unlink()
            else:
                file.write_bytes(content)
            toy = Toy()
            found = toy.resume(folder)
            assert found is not None, (name, way)
            if found.step == 5:  # a manifest without its last newline says the same
                assert name == "manifest.json" and same(toy.values(), kept[1])
                continue
            assert same(toy.values(), kept[0])
            assert "step-00000005" in toy.notes[0]


def test_every_bit_of_the_manifest_matters(tmp_path: Path) -> None:
    """Whichever byte of it changes, the checkpoint is passed over or still the very same."""
    kept = saved(tmp_path, [3, 5])
    manifest = tmp_path / "step-00000005" / "manifest.json"
    content = manifest.read_bytes()
    damaged = 0
    for at in range(len(content)):
        changed = bytearray(content)
        changed[at] ^= (1, 4, 32)[at % 3]
        manifest.write_bytes(bytes(changed))
        toy = Toy()
        found = toy.resume(tmp_path)
        assert found is not None
        assert same(toy.values(), kept[0 if found.step == 3 else 1]), at
        damaged += found.step == 3
    assert damaged > 0.8 * len(content)


@pytest.mark.long
@pytest.mark.timeout(14400)
def test_no_flipped_bit_and_no_cut_ever_gives_other_numbers(tmp_path: Path) -> None:
    """10,000 single bits and 1,000 cuts, anywhere in any file of the newest checkpoint."""
    kept, drawn = saved(tmp_path, [3, 5]), random.Random(0)
    passed_over: Counter[str] = Counter()
    for number in range(11_000):
        file = drawn.choice(files_of(tmp_path / "step-00000005"))
        content = file.read_bytes()
        at = drawn.randrange(len(content))
        changed = bytearray(content if number < 10_000 else content[:at])
        if number < 10_000:
            changed[at] ^= 1 << drawn.randrange(8)
        file.write_bytes(bytes(changed))
        toy = Toy()
        found = toy.resume(tmp_path)
        assert found is not None
        assert same(toy.values(), kept[0 if found.step == 3 else 1]), (file.name, at)
        passed_over[f"{file.name} passed over: {found.step == 3}"] += 1
        file.write_bytes(content)
    print(dict(sorted(passed_over.items())))
    harmless = {name for name in passed_over if name.endswith("False")}
    assert harmless <= {"manifest.json passed over: False"}, "what the manifest covers is all found"


def test_all_damaged_starts_anew_and_new_checkpoints_stay(tmp_path: Path) -> None:
    """A damaged checkpoint of a later step must not push out the good one of an earlier step."""
    saved(tmp_path, [8, 9])
    for folder in tmp_path.iterdir():
        (folder / "weights.safetensors").write_bytes(b"gone")
    toy = Toy()
    assert toy.resume(tmp_path) is None
    assert len(toy.notes) == 2
    toy.step()
    toy.save(tmp_path, 1)
    again = Toy()
    found = again.resume(tmp_path)
    assert found is not None and found.step == 1
    assert same(again.values(), toy.values())


def test_what_is_no_checkpoint_is_not_one(tmp_path: Path) -> None:
    kept = saved(tmp_path, [2])
    (tmp_path / "step-00000007").mkdir()  # without a manifest: never completed
    (tmp_path / "step-00000008").write_text("a file")
    (tmp_path / ".tmp-abc").mkdir()
    toy = Toy()
    found = toy.resume(tmp_path)
    assert found is not None and found.step == 2
    assert same(toy.values(), kept[0])
