"""Why a path is in the backup or not, decided by the same code as the walk."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from bitbacker.spi import Explanation
from bitbacker_plugins.files.places import Place, components
from bitbacker_plugins.files.select import CACHE_TAG, Selector

_INCLUDED = "no rule matches: included"


def explain(root: Place, selector: Selector, path: str) -> Explanation:
    """The decision for one absolute path, which need not exist."""
    names = components(path)
    place, depth = _deepest_named(root, names)
    if depth < 0:
        if place is not None:
            return Explanation(included=True, reason="on the way to a path of this source")
        return Explanation(included=False, reason="not below any path of this source")
    if depth == len(names):
        return Explanation(included=True, reason="a path of this source")
    decision = Explanation(included=True, reason=_INCLUDED)
    home = _status(b"/" + b"/".join(names[:depth]))
    for end in range(depth, len(names)):
        is_last = end + 1 == len(names)
        looks_like_directory = not is_last or path.endswith("/")
        decision = _explain_entry(selector, names[: end + 1], home, assume_directory=looks_like_directory)
        if not decision.included:
            break
    if not decision.included and place is not None:
        return Explanation(included=True, reason="on the way to a path of this source")
    return decision


def _deepest_named(root: Place, names: Sequence[bytes]) -> tuple[Place | None, int]:
    """The place of the path itself, and how deep the last configured path on the way to it is (or -1)."""
    place: Place | None = root
    depth = 0 if root.named else -1
    for index, name in enumerate(names):
        place = place.children.get(name) if place is not None else None
        if place is not None and place.named:
            depth = index + 1
    return place, depth


def _explain_entry(
    selector: Selector, names: Sequence[bytes], home: os.stat_result | None, *, assume_directory: bool
) -> Explanation:
    """The decision for one entry of a directory that is itself backed up."""
    parent, name = b"/".join(names[:-1]), os.fsdecode(names[-1])
    if selector.one_file_system and home is not None:
        directory = _status(b"/" + parent)
        if directory is not None and directory.st_dev != home.st_dev:
            return _excluded(f"other file system: /{os.fsdecode(parent)}")
    marker = _marker(selector, b"/" + parent, name)
    if marker:
        return _excluded(marker)
    status = _status(b"/" + parent + b"/" + names[-1])
    is_directory = stat.S_ISDIR(status.st_mode) if status is not None else assume_directory
    matcher = selector.rules.matcher(parent)
    rule = matcher.deciding(name, is_directory=is_directory) if matcher is not None else None
    if status is not None and selector.too_large(status):
        return _excluded(f"larger than {selector.larger_than_bytes} bytes")
    if rule is None:
        return Explanation(included=True, reason=_INCLUDED)
    words = "re-included" if rule.negated else "excluded"
    reason = f"{words} by the rule for /{os.fsdecode(b'/'.join(names))}"
    return Explanation(rule.negated, reason, str(rule.text), rule.text.file, rule.text.line)


def _marker(selector: Selector, directory: bytes, name: str) -> str:
    """Words for the marker that keeps this name of the directory out, else nothing."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        markers = selector.markers(os.listdir(descriptor), descriptor)
    except OSError:
        return ""
    finally:
        os.close(descriptor)
    if not markers or name in markers:
        return ""
    marker = min(markers)
    shown = os.fsdecode(directory)
    return f"{CACHE_TAG} in {shown}" if marker == CACHE_TAG else f"exclude_if_present {marker} in {shown}"


def _excluded(reason: str) -> Explanation:
    return Explanation(included=False, reason=reason)


def _status(path: bytes) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None
