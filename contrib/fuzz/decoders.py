"""Coverage-guided fuzzing of one decoder of the format.  README.md says how it is run.

Whatever the bytes are, a decoder decodes them or raises an error of ours, and what it takes it encodes to
the same bytes again where there is one encoding.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def main(arguments: list[str]) -> None:
    """The first argument is the number of the decoder, the others are those of libFuzzer."""
    atheris: Any = importlib.import_module("atheris")
    sys.path[:0] = [str(ROOT), str(ROOT / "plugins"), str(ROOT / "tests")]
    with atheris.instrument_imports(include=["bitbacker", "format"]):
        decoders: Any = importlib.import_module("format.decoders")
        feed: Any = importlib.import_module("format.test_decoders").feed
    # The last one is made to be caught.
    known = [*decoders.decoders(), decoders.sloppy()]
    number = "".join(arguments[1:2])
    if number not in map(str, range(len(known))):
        raise SystemExit("\n".join(f"{at}  {decoder}" for at, decoder in enumerate(known)))
    decoder = known[int(number)]
    folder = ROOT / "build" / "fuzz" / number
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "example").write_bytes(decoder.example)
    atheris.Setup([arguments[0], *arguments[2:], str(folder)], lambda data: feed(decoder, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
