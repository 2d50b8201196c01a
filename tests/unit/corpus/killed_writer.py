"""A process that writes documents to a place again and again, and is killed each time.

    python -m tests.unit.corpus.killed_writer OUT TIMES

The n-th writer kills itself before its n-th durable operation. Prints, as a JSON list, how many
documents stood at OUT, or aside where it was being replaced, after each kill.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from tests.unit.corpus.documents import documents
from tutelage import store
from tutelage.corpus import output
from tutelage.corpus.sources import open_source


def write(out: Path, kill_at: int) -> None:
    done = 0

    def kill(operation: str, path: Path) -> None:
        nonlocal done
        done += 1
        if done == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    store.before = kill
    output.write_documents(documents(3), out, lambda: {"commands": []})


def main(out: Path, times: int) -> None:
    output.write_documents(documents(2), out, lambda: {"commands": []})
    counts = []
    for kill_at in range(1, times + 1):
        pid = os.fork()
        if pid == 0:
            write(out, kill_at)
            os._exit(0)
        os.waitpid(pid, 0)
        held = out if out.exists() else out.with_name(f"{out.name}.state") / output.OLD
        counts.append(len(list(open_source(str(held)))))
    print(json.dumps(counts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
