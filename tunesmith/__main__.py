"""`tunesmith`, and `python -m tunesmith`."""

import sys

_INTERRUPTED = 130


def main() -> None:
    try:
        from tunesmith.cli.main import app  # noqa: PLC0415  # takes a second, or many on a busy machine

        app()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
