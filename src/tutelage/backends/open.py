"""From the text of a model source to an LM. What needs no torch imports none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tutelage import store
from tutelage.checkpoints.program import Program, expect, program_of
from tutelage.checkpoints.source import Source, parse
from tutelage.decoding import KVCacheDtype, Speculative
from tutelage.errors import ConfigError
from tutelage.lm import LM


def open_lm(
    source: str,
    *,
    adapter: Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    exact: bool = False,
    threads: int | None = None,
    api_key_file: Path | None = None,
    seed: int = 0,
    speculative: Speculative | None = None,
    cache_bytes: int | None = None,
    kv_cache_dtype: KVCacheDtype = "auto",
) -> LM:
    """The model named by `source`: a server, a script, or weights on this machine; of a run what
    it recommends, with its adapter and the turns it shows before every conversation. With
    `cache_bytes` callers in many threads share one running batch of a model on this machine, whose
    keys and values take at most so many bytes; they are kept in 8 bits with `kv_cache_dtype` int8.

    Raises SourceError for a source that cannot be opened, ConfigError for an option that the kind
    of source cannot honour, GuardError for a base that has changed since the run.
    """
    program = program_of(source)
    base = parse(program.base)
    _refuse_adapter(source, base, program, adapter)
    if base.kind != "http":
        refuse_key(source, api_key_file)
    if base.has_weights:
        from tutelage.backends.local import open_local

        lm: LM = open_local(
            program.base,
            cache_bytes,
            adapter=adapter or program.adapter,
            fingerprint=program.fingerprint,
            device=device,
            dtype=dtype,
            exact=exact,
            threads=threads,
            seed=seed if program.seed is None else program.seed,
            speculative=speculative,
            kv_cache_dtype=kv_cache_dtype,
        )
    else:
        _refuse_guesses(source, speculative)
        _refuse_cache(source, kv_cache_dtype)
        refuse_placement(source, device, dtype, exact)
        expect(program.base, fingerprint_of_text(base), program.fingerprint)
        lm = _text_lm(base, api_key_file)
    if not program.messages:
        return lm
    from tutelage.backends.turns import TurnsBefore

    return TurnsBefore(lm, program.messages)


def open_with_adapters(
    source: str,
    adapters: Mapping[str, Path],
    *,
    api_key_file: Path | None = None,
    seed: int = 0,
    cache_bytes: int | None = None,
    **where: Any,
) -> Mapping[str | None, LM]:
    """The model under None, and with each of the adapters under its name, over one base in memory.

    Raises what `open_lm` raises."""
    if not adapters:
        where |= {"seed": seed, "cache_bytes": cache_bytes}
        return {None: open_lm(source, api_key_file=api_key_file, **where)}
    program = program_of(source)
    base = parse(program.base)
    for folder in adapters.values():
        _refuse_adapter(source, base, program, folder)
    refuse_key(source, api_key_file)
    from tutelage.backends.adapters import with_adapters

    models = with_adapters(
        program.base,
        adapters,
        fingerprint=program.fingerprint,
        seed=seed if program.seed is None else program.seed,
        **where,
    )
    if cache_bytes is not None:
        models[None].share(cache_bytes)
    if not program.messages:
        return models
    from tutelage.backends.turns import TurnsBefore

    return {name: TurnsBefore(lm, program.messages) for name, lm in models.items()}


def fingerprint_of_text(base: Source) -> str:
    """What a script or a server is known by: the script's SHA-256; of a server its address, as what
    stands behind one cannot be hashed."""
    return store.sha256(base.located) if base.kind == "scripted" else store.digest(base.text)


def refuse_placement(source: str, device: str, dtype: str, exact: bool) -> None:
    """Raises ConfigError for a choice of where or how to compute what is not computed here."""
    for flag, given, free in (
        ("--device", device, "auto"),
        ("--dtype", dtype, "auto"),
        ("--exact", exact, False),
    ):
        if given != free:
            raise ConfigError(
                f"{flag} has no effect on {source}: its answers are not computed here",
                field=flag,
                got=given,
                expected="a model folder, .gguf, pypi:, hf: or preset: source",
                hint=f"leave {flag} out",
            )


def refuse_key(source: str, api_key_file: Path | None) -> None:
    """Raises ConfigError for a key where nothing asks for one."""
    if api_key_file is not None:
        raise ConfigError(
            f"a key is for a server, and {source} is none",
            field="--api-key-file",
            got=api_key_file,
            expected="a source http(s)://HOST[:PORT]/v1#MODEL",
            hint="leave --api-key-file out",
        )


def _refuse_adapter(source: str, base: Source, program: Program, adapter: Path | None) -> None:
    if adapter is None:
        return
    if not base.has_weights:
        raise ConfigError(
            f"an adapter needs a model on this machine, and {source} is none",
            field="--adapter",
            got=adapter,
            expected="a model folder, .gguf, pypi:, hf: or preset: source",
        )
    if program.adapter is not None:
        raise ConfigError(
            f"{source} recommends an adapter of its own, and a model takes one",
            field="--adapter",
            got=adapter,
            expected=f"none beside {program.adapter}",
            hint=f"leave --adapter out, or name the base model, {program.base}",
        )


def _refuse_guesses(source: str, speculative: Speculative | None) -> None:
    if speculative is not None:
        flag = "--prompt-lookup" if speculative.draft is None else "--draft"
        raise ConfigError(
            f"{flag} has no effect on {source}: its answers are not computed here",
            field=flag,
            expected="a model folder, .gguf, pypi:, hf: or preset: source",
            hint=f"leave {flag} out",
        )


def _refuse_cache(source: str, kv_cache_dtype: KVCacheDtype) -> None:
    if kv_cache_dtype != "auto":
        raise ConfigError(
            f"--kv-cache-dtype has no effect on {source}: its answers are not computed here",
            field="--kv-cache-dtype",
            got=kv_cache_dtype,
            expected="a model folder, .gguf, pypi:, hf: or preset: source",
            hint="leave --kv-cache-dtype out",
        )


def _text_lm(base: Source, api_key_file: Path | None) -> LM:
    """A server or a script."""
    if base.kind == "scripted":
        from tutelage.backends.scripted import ScriptedLM

        return ScriptedLM.open(base.located)
    from tutelage.backends.http import HttpLM
    from tutelage.backends.key import read_key

    key = None if api_key_file is None else read_key(api_key_file)
    return HttpLM(base.url or "", base.model or "", key=key)
