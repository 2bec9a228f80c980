"""Object Lock: how long objects are kept, and deleting where some of them are kept still.

Deleting a key in such a bucket only hides it behind a marker, and its bytes stay and are paid for.
So versions are deleted, by their identities.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from bitbacker.errors import ObjectsLocked, StorageDenied
from bitbacker_plugins.s3.config import S3Config
from bitbacker_plugins.s3.failures import answer_of
from bitbacker_plugins.s3.removal import Doomed, Refusal, Removal

DAY_S = 86_400.0
# A lock that ended a moment ago may have been the reason still.
_GRACE_S = 60.0
FOREVER_S = datetime(9999, 12, 31, tzinfo=timezone.utc).timestamp()
"""When a legal hold ends: nobody knows."""


class ServerClock:
    """The time of the server, as far as its answers have told it; else that of this machine."""

    def __init__(self) -> None:
        self._ahead_s = 0.0

    def listen(self, client: Any) -> None:
        """Learn from every answer that this client gets."""
        client.meta.events.register("after-call.s3", self._heard, unique_id="bitbacker-clock")

    def now_s(self) -> float:
        """Seconds since 1970."""
        return time.time() + self._ahead_s

    def _heard(self, parsed: Mapping[str, Any], **_: Any) -> None:
        date = parsed.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
        try:
            self._ahead_s = parsedate_to_datetime(date).timestamp() - time.time()
        except (TypeError, ValueError):
            return


class Locks:
    """Of one bucket.  `where` names it and its owner."""

    def __init__(self, config: S3Config, where: Mapping[str, Any], removal: Removal) -> None:
        self._config = config
        self._where = where
        self._removal = removal
        self._clock = ServerClock()
        self._locked: bool | None = None

    def put_options(self, client: Any) -> dict[str, Any]:
        """What a put says about how long its object is kept.

        Raises `StorageDenied` when the bucket cannot keep objects, because some servers would say nothing.
        """
        if not self._config.lock_days:
            return {}
        if self.are_in_force(client) is False:
            raise StorageDenied(
                "'lock_days' is set, but the bucket has no Object Lock",
                hint="make a bucket with Object Lock, or remove 'lock_days' from this remote",
            )
        until_s = math.ceil(self._clock.now_s() + self._config.lock_days * DAY_S)
        return {
            "ObjectLockMode": self._config.lock_mode.upper(),
            "ObjectLockRetainUntilDate": datetime.fromtimestamp(until_s, timezone.utc),
        }

    def are_in_force(self, client: Any) -> bool:
        """Whether the bucket can keep objects; asked once.

        Who may not ask is taken to know best: with 'lock_days' it can, without it cannot.
        """
        if self._locked is None:
            if self._config.lock_days:
                self._clock.listen(client)
            self._locked = self._asked(client)
        return self._locked

    def _asked(self, client: Any) -> bool:
        from botocore.exceptions import ClientError

        try:
            answer = client.get_object_lock_configuration(**self._where)
        except ClientError as error:
            refusal = answer_of(error)
            if refusal.error("ask").retryable or refusal.code == "NoSuchBucket":
                raise
            return bool(self._config.lock_days) and refusal.status == HTTPStatus.FORBIDDEN
        configuration = answer.get("ObjectLockConfiguration", {})
        return bool(configuration.get("ObjectLockEnabled") == "Enabled")

    def delete(self, client: Any, keys: Mapping[str, str]) -> None:
        """Delete every version of these keys, whose names are the values.

        The versions of a key go from the oldest to the newest, and what follows one that is kept stays,
        lest an older one show again.  Raises `ObjectsLocked` at the end.
        """
        versions = self._versions(client, keys)
        kept: list[Refusal] = []
        while versions:
            oldest = [Doomed(key, identities.pop(0)) for key, identities in versions.items()]
            refused = self._removal.remove(client, oldest)
            kept += refused
            stuck = {refusal.doomed.key for refusal in refused}
            versions = {key: rest for key, rest in versions.items() if rest and key not in stuck}
        if kept:
            self._report(client, kept, keys)

    def _versions(self, client: Any, keys: Iterable[str]) -> dict[str, list[str]]:
        """Identities of the versions of each key, from the oldest, and of markers at last."""
        wanted = set(keys)
        found: defaultdict[str, list[str]] = defaultdict(list)
        markers: defaultdict[str, list[str]] = defaultdict(list)
        pages = client.get_paginator("list_object_versions")
        for page in pages.paginate(**self._where, Prefix=_common_prefix(wanted)):
            for rows, into in ((page.get("Versions", []), found), (page.get("DeleteMarkers", []), markers)):
                for row in rows:
                    if row["Key"] in wanted:
                        into[row["Key"]].insert(0, row["VersionId"])
        return {key: found[key] + markers[key] for key in sorted({*found, *markers})}

    def _report(self, client: Any, kept: list[Refusal], keys: Mapping[str, str]) -> None:
        with ThreadPoolExecutor(self._config.connections) as pool:
            ends_s = list(pool.map(lambda refusal: self._kept_until_s(client, refusal), kept))
        locked = {
            keys[refusal.doomed.key]: end_s
            for refusal, end_s in zip(kept, ends_s, strict=True)
            if end_s is not None
        }
        if locked:
            raise ObjectsLocked(frozenset(locked), max(locked.values()))

    def _kept_until_s(self, client: Any, refusal: Refusal) -> float | None:
        """When the version may be deleted; None when it is gone by now.

        Raises the error that the refusal means when no lock explains it.
        """
        from botocore.exceptions import ClientError

        try:
            status = client.head_object(**self._where, **refusal.doomed.parameters)
        except ClientError as error:
            if answer_of(error).status == HTTPStatus.NOT_FOUND:
                return None
            raise
        if status.get("ObjectLockLegalHoldStatus") == "ON":
            return FOREVER_S
        until = status.get("ObjectLockRetainUntilDate")
        end_s = until.timestamp() if until else self._expected_end_s(status)
        if end_s < self._clock.now_s() - _GRACE_S:
            raise refusal.answer.error(f"delete {refusal.doomed.key}")
        return float(end_s)

    def _expected_end_s(self, status: Mapping[str, Any]) -> float:
        """For a credential that may not see how long objects are kept."""
        stored = status["LastModified"].timestamp() if "LastModified" in status else 0.0
        return float(stored + self._config.lock_days * DAY_S)


def _common_prefix(keys: set[str]) -> str:
    """What all of them begin with: what the first and the last have in common."""
    first, last = min(keys), max(keys)
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:same]
