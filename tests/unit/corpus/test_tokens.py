"""The token store: every token once, any place at once, damage named, kills that leave no mark."""

from __future__ import annotations

import contextlib
import hashlib
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tokenizers

from tests.unit.corpus.documents import documents, jsonl, prose
from tutelage import store
from tutelage.corpus.documents import Document, text_document
from tutelage.corpus.layout import Header, dtype_for, ends_name, shard_name
from tutelage.corpus.permute import permuted
from tutelage.corpus.tokenize import Request, end_token, tokenize
from tutelage.corpus.tokens import TokenStore, Windows
from tutelage.errors import ConfigError, DamagedError, DataError, RequestError
from tutelage.text.byte_level import byte_tokenizer
from tutelage.text.tokenizer import SpecialTokens, Tokenizer

TOKENIZER = byte_tokenizer()
END = end_token(TOKENIZER)
SHARD = 1000


def made(
    out: Path, given: list[Document] | None = None, shard: int = SHARD, identity: object = 1
) -> Header:
    request = Request(TOKENIZER, identity, END, shard)
    texts = documents(12) if given is None else given
    return tokenize(texts, request, out, lambda: {"commands": []})


def stream_of(given: list[Document]) -> list[int]:
    return [id for one in given for id in (*TOKENIZER.encode_plain(one.text), END)]


def digests(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


@pytest.mark.parametrize("shard", [7, 64, 10**6])
def test_every_token_stands_where_it_should(shard: int, tmp_path: Path) -> None:
    given = [text_document("a", "One."), text_document("b", "Two, longer."), *documents(1, 20)]
    header = made(tmp_path / "s", given, shard)
    stream = TokenStore(tmp_path / "s")
    expected = stream_of(given)
    assert stream.slice(0, len(stream)).tolist() == expected and header.tokens == len(expected)
    assert header.documents == 3 and header.vocabulary == TOKENIZER.vocabulary
    assert header.text_bytes == sum(len(one.text.encode()) for one in given)
    ends = [n + 1 for n, id in enumerate(expected) if id == END]
    assert stream.ends(0, len(stream)).tolist() == ends
    drawn = random.Random(shard)
    for _ in range(50):
        start, stop = sorted(drawn.choices(range(len(expected) + 1), k=2))
        assert stream.slice(start, stop).tolist() == expected[start:stop]
        assert stream.ends(start, stop).tolist() == [e for e in ends if start < e <= stop]
    for start, stop in ((-1, 3), (3, 2), (0, len(expected) + 1)):
        with pytest.raises(IndexError):
            stream.slice(start, stop)


def test_what_a_text_spells_is_no_control_token(tmp_path: Path) -> None:
    spelled = TOKENIZER.token(END)
    assert spelled is not None
    made(tmp_path / "s", [text_document("a", f"An end: {spelled}!")])
    stream = TokenStore(tmp_path / "s")
    assert stream.slice(0, len(stream)).tolist().count(END) == 1


def test_width_follows_from_the_vocabulary(tmp_path: Path) -> None:
    assert [dtype_for(n) for n in (2**16, 2**16 + 1)] == ["<u2", "<u4"]
    words = {f"w{n}": n for n in range(70_000)}
    large = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, "w0"))
    large.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    large.add_special_tokens(["<end>"])
    tokenizer = Tokenizer(large.to_str(), SpecialTokens(eos="<end>"))
    request = Request(tokenizer, 1, end_token(tokenizer), 3)
    given = [text_document("a", "w69999 w1"), text_document("b", "w65536 w2")]
    tokenize(given, request, tmp_path / "s", lambda: {"commands": []})
    assert TokenStore(tmp_path / "s").slice(0, 6).tolist() == [69999, 1, 70000, 65536, 2, 70000]


def test_the_end_token_must_be_there() -> None:
    bare = Tokenizer(TOKENIZER.json, SpecialTokens())
    with pytest.raises(ConfigError) as caught:
        end_token(bare)
    assert caught.value.field == "--end"
    with pytest.raises(ConfigError):
        end_token(TOKENIZER, "[NONE]")
    name = TOKENIZER.token(END)
    assert end_token(bare, name) == END


def test_windows_hold_every_token_once_an_epoch_in_an_order_of_their_own(tmp_path: Path) -> None:
    given = documents(9)
    made(tmp_path / "s", given)
    stream, expected = TokenStore(tmp_path / "s"), stream_of(given)
    windows = Windows(stream, 64, seed=3)
    assert windows.count == (len(expected) - 1) // 64
    for epoch in range(3):
        starts = [windows.start(epoch * windows.count + n) for n in range(windows.count)]
        assert sorted(starts) == list(range(0, windows.count * 64, 64))
    orders = {
        tuple(w.start(epoch * w.count + n) for n in range(w.count))
        for w in (windows, Windows(stream, 64, seed=4))
        for epoch in range(2)
    }
    assert len(orders) == 4, "each seed and each epoch has an order of its own"
    position = windows.count + 5
    start = windows.start(position)
    assert windows[position].tolist() == expected[start : start + 65]
    window_ends = windows.ends(position).tolist()
    assert window_ends == [n + 1 for n, id in enumerate(windows[position].tolist()) if id == END]


def test_any_place_is_reached_at_once(tmp_path: Path) -> None:
    made(tmp_path / "s")
    fresh = Windows(TokenStore(tmp_path / "s"), 32, seed=0)
    walked = [Windows(TokenStore(tmp_path / "s"), 32, seed=0)[n] for n in range(200)]
    assert np.array_equal(fresh[199], walked[199])
    assert len(fresh[10**15]) == 33, "a position far beyond what could be counted to"


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 16, 17, 1000])
def test_a_permutation_is_one(n: int) -> None:
    for key in ("0:0", "0:1"):
        assert sorted(permuted(place, n, key) for place in range(n)) == list(range(n))
    with pytest.raises(IndexError):
        permuted(n, n, "0:0")


def test_small_permutations_are_even() -> None:
    counts: dict[tuple[int, ...], int] = {}
    for key in range(6000):
        order = tuple(permuted(place, 3, str(key)) for place in range(3))
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 6 and all(850 < count < 1150 for count in counts.values())


def damage(file: Path, how: str) -> None:
    data = bytearray(file.read_bytes())
    if how == "missing":
        file.unlink()
    elif how == "short":
        file.write_bytes(data[:-1])
    elif how == "long":
        file.write_bytes(data + b"\0\0")
    else:
        data[len(data) // 2] ^= 1
        file.write_bytes(data)


@pytest.mark.parametrize("how", ["missing", "short", "long", "changed"])
@pytest.mark.parametrize("name", [shard_name(1), ends_name(1)])
def test_a_damaged_shard_is_named_and_never_read(how: str, name: str, tmp_path: Path) -> None:
    made(tmp_path / "s")
    damage(tmp_path / "s" / name, how)
    with pytest.raises(DamagedError) as caught:
        stream = TokenStore(tmp_path / "s")
        assert how == "changed", "sizes are checked when a store is opened"
        assert len(stream.slice(0, SHARD)) == SHARD, "the others can be read"
        stream.slice(SHARD - 1, SHARD + 1)
        stream.ends(0, 1)
    assert caught.value.field == str(tmp_path / "s" / name)
    with pytest.raises(DamagedError):
        store.verify(tmp_path / "s")


@pytest.mark.parametrize("name", ["store.json", "manifest.json"])
def test_a_damaged_header_is_named(name: str, tmp_path: Path) -> None:
    made(tmp_path / "s")
    (tmp_path / "s" / name).write_text('{"tokens": 3}')
    with pytest.raises(DamagedError) as caught:
        TokenStore(tmp_path / "s")
    assert caught.value.field == str(tmp_path / "s" / name)


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        TokenStore(tmp_path)
    assert "tutelage data tokenize" in (caught.value.hint or "")
    made(tmp_path / "s", [text_document("a", "Short.")])
    with pytest.raises(DataError, match="too short"):
        Windows(TokenStore(tmp_path / "s"), 64)
    with pytest.raises(ConfigError):
        Windows(TokenStore(tmp_path / "s"), 0)
    with pytest.raises(DataError, match="no document"):
        made(tmp_path / "none", [])
    assert not (tmp_path / "none").exists()


def test_a_finished_store_is_returned_and_another_request_refused(tmp_path: Path) -> None:
    first = made(tmp_path / "s")
    before = digests(tmp_path / "s")
    assert made(tmp_path / "s", []) == first, "nothing is read again"
    assert digests(tmp_path / "s") == before
    with pytest.raises(RequestError):
        made(tmp_path / "s", identity=2)
    assert digests(tmp_path / "s") == before
    damage(tmp_path / "s" / shard_name(0), "changed")
    with pytest.raises(DamagedError):
        made(tmp_path / "s")


class Stop(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("shard", [1000, 70])
def test_stopped_at_any_durable_operation_it_goes_on(
    shard: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = documents(4, words=30)
    made(tmp_path / "whole" / "s", given, shard)
    expected = digests(tmp_path / "whole" / "s")
    out = tmp_path / "stopped" / "s"
    for number in range(1, 40, 3):
        left = number

        def stop(operation: str, path: Path) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise Stop

        with monkeypatch.context() as patched, contextlib.suppress(Stop):
            patched.setattr(store, "before", stop)
            made(out, given, shard)
    made(out, given, shard)
    assert digests(out) == expected
    assert [path.name for path in out.parent.iterdir()] == ["s"]


def test_a_shard_damaged_between_two_calls_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path / "whole" / "s")
    out = tmp_path / "stopped" / "s"

    def stop(operation: str, path: Path) -> None:
        if operation == "rename" and path.name == "s":
            raise Stop

    with monkeypatch.context() as patched, pytest.raises(Stop):
        patched.setattr(store, "before", stop)
        made(out)
    damage(out.with_name("s.state") / shard_name(3), "changed")
    made(out)
    assert digests(out) == digests(tmp_path / "whole" / "s")


KILLED = """
import os, signal, sys
from tutelage import store
from tutelage.cli.main import run_command

def kill(operation, path):
    if f"{operation} {path.name}" == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)

store.before = kill
run_command(sys.argv[2:])
"""


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_killed_while_it_writes_the_same_command_ends_bitwise_the_same(
    seed: int, tmp_path: Path
) -> None:
    source = jsonl(tmp_path / "in.jsonl", [prose(n) for n in range(500)])
    TOKENIZER.to_files(tmp_path / "tokenizer")
    command = [
        "data", "tokenize", source, "--shard-tokens", "10000",
        "--tokenizer", str(tmp_path / "tokenizer"), "--json", "--out",
    ]  # fmt: skip
    drawn = random.Random(seed)
    out, state = tmp_path / "killed", tmp_path / "killed.state"
    for kill in range(2):
        moment = (
            f"{drawn.choice(['fsync', 'rename'])} {shard_name(drawn.randrange(3, 10) + 10 * kill)}"
        )
        process = subprocess.run([sys.executable, "-c", KILLED, moment, *command, str(out)])
        assert process.returncode == -signal.SIGKILL
        assert state.exists() and not out.exists()
    for place in (out, tmp_path / "whole"):
        whole = [sys.executable, "-m", "tutelage", *command, str(place)]
        subprocess.run(whole, check=True, capture_output=True)
    assert digests(out) == digests(tmp_path / "whole") and not state.exists()
