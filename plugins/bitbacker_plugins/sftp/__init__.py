"""Transport `sftp`: a repository on a server that is reached by SSH."""

from __future__ import annotations

from typing import ClassVar

from bitbacker_plugins.sftp.config import SftpConfig


class SftpTransport:
    """A directory of a server as storage."""

    api_version: ClassVar[int] = 1
    Config: ClassVar[type[SftpConfig]] = SftpConfig

    def __init__(self, url: str, config: SftpConfig) -> None:
        self.url = url
        self.config = config
