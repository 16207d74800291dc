"""``python -m mortalsim.boards MAKER``: make a chip and serve it at a port of this machine."""

from __future__ import annotations

import argparse
import sys

from mortalsim.boards.makers import described, made
from mortalsim.boards.process import serve_descriptor
from mortalsim.boards.socket import Listener
from mortalsim.boards.wire import LARGEST
from mortalsim.checks import MortalsimError


def main(words: list[str] | None = None) -> None:
    """Do what the program's arguments say."""
    options = _parser().parse_args(words)
    if options.descriptor is not None:
        serve_descriptor(options.descriptor, options.maker, options.arguments, options.largest)
        return
    try:
        described(options.maker)
        chip = made(options.maker, options.arguments)
        with Listener(options.port, options.token, largest=options.largest) as listener:
            sys.stdout.write(f"port {listener.port} token {listener.token}\n")
            sys.stdout.flush()
            listener.serve(chip)
    except MortalsimError as error:
        raise SystemExit(f"mortalsim.boards: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m mortalsim.boards", description=__doc__)
    parser.add_argument("maker", metavar="MAKER", help="function that returns the chip: module:function or file.py:function")
    parser.add_argument("arguments", nargs="?", default="[[], {}]", help="its arguments in JSON, [[...], {...}]")
    parser.add_argument("--port", type=int, default=0, help="0: one that is free")
    parser.add_argument("--token", help="secret that must be said to be answered (default: a new one)")
    parser.add_argument("--largest", type=int, default=LARGEST, help="bytes of the largest message")
    parser.add_argument("--descriptor", type=int, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
