from bitbacker.spi import Buffer
from bitbacker_plugins.gear.rule import Rule

def cut(data: Buffer, rule: Rule, final: bool, /) -> list[int]: ...
