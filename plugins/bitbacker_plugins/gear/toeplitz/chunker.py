"""The `toeplitz-aes` chunker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from bitbacker.spi import Buffer
from bitbacker_plugins.gear.toeplitz.rule import Rule, ToeplitzAesConfig, rule_of

try:
    from bitbacker_plugins.gear._scan import cut_toeplitz, paths

    PATH = paths()[0]
    IMPLEMENTATION = f"c {PATH}"

    def scan(data: Buffer, rule: Rule, final: bool, /) -> list[int]:
        return cut_toeplitz(data, rule, final, PATH)

except ImportError:
    from bitbacker_plugins.gear.toeplitz._numpy import cut as scan

    IMPLEMENTATION = "numpy"


class ToeplitzAesChunker:
    """Content-defined chunks whose ends are proven to tell nothing about the key.

    A chunk ends where AES-128, applied to a keyed 128-bit hash of the 64 bytes before its end, begins
    with enough zero bits.  Ends move along with their bytes, as those of `gear` do, and as many chunks
    are found again.  For a storage that shows the sizes of chunks it is the one to choose; where none
    does, as in BitBacker's own segments, it is a second lock on the same door, and `gear` is faster.

    Options, all in bytes:

    min_size_bytes      no chunk but the last of a stream is smaller; default 262144 (256 KiB)
    average_size_bytes  what random data comes to, a power of two; default 524288 (512 KiB)
    max_size_bytes      no chunk is larger; default 2097152 (2 MiB)

    The sizes are fixed when a repository is made, because other sizes would find nothing of what is
    stored.

    The scan is written in C, with the AES instructions of x86 where the processor has them; where it
    could not be compiled, NumPy and the AES of `cryptography` do the same.
    """

    api_version: ClassVar[int] = 1
    Config: ClassVar[type[ToeplitzAesConfig]] = ToeplitzAesConfig
    implementation: ClassVar[str] = IMPLEMENTATION
    """Which scan is in use: `c` and the path that suits the processor, or `numpy`."""

    def __init__(self, config: ToeplitzAesConfig, key: bytes) -> None:
        """Derive the table and the AES key.  Raises `ConfigError` when `key` is not 32 bytes long."""
        self._rule = rule_of(config, key)

    @property
    def min_size_bytes(self) -> int:
        return self._rule.min_size_bytes

    @property
    def max_size_bytes(self) -> int:
        return self._rule.max_size_bytes

    def cut(self, data: Buffer, *, final: bool) -> Sequence[int]:
        """Ends of the chunks in `data`.  Raises `BufferError` when `data` is not contiguous."""
        return scan(data, self._rule, final)
