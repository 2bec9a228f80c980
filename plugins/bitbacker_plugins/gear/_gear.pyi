from bitbacker.spi import Buffer
from bitbacker_plugins.gear.rule import Table

def cut(
    data: Buffer,
    table: Table,
    strict_bits: int,
    loose_bits: int,
    min_size: int,
    switch_size: int,
    max_size: int,
    final: bool,
    /,
) -> list[int]: ...
