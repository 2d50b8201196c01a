"""Entry point of `tutelage` and `python -m tutelage`; everything else is in `cli/main`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    from tutelage.cli.main import run_command

    sys.exit(run_command(sys.argv[1:]))


if __name__ == "__main__":
    main()
