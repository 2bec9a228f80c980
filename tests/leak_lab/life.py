"""The life of a repository: made, backed up, added to, checked, forgotten, pruned, restored."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

from bitbacker.crypto.slots import Unlocker
from bitbacker.repo.check import check
from bitbacker.repo.create import create
from bitbacker.repo.forget import forget
from bitbacker.repo.open import Repository, open_repository
from bitbacker.repo.settings import LocalPaths, RepositoryOptions
from bitbacker.repo.sweep import execute_prune
from bitbacker.repo.sweep_plan import PruneOptions, plan_prune
from bitbacker.spi import NoConfig, Transport
from bitbacker_plugins.memory import MemoryTransport
from lab import CONSTANTS, Maker, back_up, contents
from leak_lab.recording import RecordingTransport, View
from leak_lab.trees import plant

_OPTIONS = RepositoryOptions(CONSTANTS.cipher, CONSTANTS.chunker)
_numbers = itertools.count()


def made(transport: Transport, folder: Path, password: str = "correct horse") -> Repository:
    """A new repository, as `bitbacker init` makes it."""
    paths = LocalPaths(folder / "cache", folder / "state")
    return create(transport, Unlocker(password), _OPTIONS, Maker(), paths)


def lived(folder: Path, rng: random.Random, password: str = "correct horse") -> View:
    """What the storage sees of a whole life, with every byte."""
    url = f"memory://life-{next(_numbers)}"
    transport = RecordingTransport(MemoryTransport(url, NoConfig()), keep_bytes=True)
    made(transport, folder, password)
    paths = LocalPaths(folder / "cache", folder / "state")
    source = folder / "source"
    repository = open_repository(transport, Unlocker(password), Maker(), paths)
    for number in range(4):
        plant(source, {f"{number}/{name}": rng.randbytes(120_000) for name in range(4)})
        plant(source, {"rewritten": rng.randbytes(50_000), "zeros": bytes(200_000)})
        back_up(repository, source)
    check(repository, read_data=True)
    snapshots = repository.catalog(repository.newest()).snapshots
    forget(repository, [snapshot.identity for snapshot in snapshots[:-1]])
    options = PruneOptions(live_part_min=1.0)
    execute_prune(repository, plan_prune(repository, options), options)
    contents(repository, repository.catalog(repository.newest()).snapshots[-1])
    view = transport.view()
    MemoryTransport.drop(url)
    return view
