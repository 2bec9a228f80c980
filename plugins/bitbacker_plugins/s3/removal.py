"""Deleting many objects: a thousand with one request, or each by itself where the server knows no better."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from typing import Any

from bitbacker_plugins.s3.failures import Answer, answer_of

_BATCH = 1_000
_GONE = {"NoSuchKey", "NoSuchVersion", "404"}
# Statuses by which servers say that they do not know the request, or miss a header of it.
_NOT_UNDERSTOOD = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.LENGTH_REQUIRED,
    HTTPStatus.NOT_IMPLEMENTED,
}


@dataclass(frozen=True, slots=True)
class Doomed:
    """What is to be deleted: a key, or one version of it."""

    key: str
    version: str = ""

    @property
    def parameters(self) -> dict[str, str]:
        return {"Key": self.key, **({"VersionId": self.version} if self.version else {})}


@dataclass(frozen=True, slots=True)
class Refusal:
    """What was not deleted, and why."""

    doomed: Doomed
    answer: Answer


class Removal:
    """Remembers whether the server can delete many at once.  `where` names the bucket and its owner."""

    def __init__(self, where: Mapping[str, Any], connections: int) -> None:
        self._where = where
        self._connections = connections
        self._singly = False

    def remove(self, client: Any, doomed: Iterable[Doomed]) -> list[Refusal]:
        """Delete all; what is absent counts as deleted.  No key may come twice.

        Raises what boto3 raises about a whole request.
        """
        refused: list[Refusal] = []
        for batch in _batches(doomed):
            refused += self._singles(client, batch) if self._singly else self._batch(client, batch)
        return refused

    def _batch(self, client: Any, batch: Sequence[Doomed]) -> list[Refusal]:
        from botocore.exceptions import ClientError

        rows = [each.parameters for each in batch]
        try:
            answer = client.delete_objects(**self._where, Delete={"Objects": rows, "Quiet": True})
        except ClientError as error:
            refusal = answer_of(error)
            if refusal.status not in _NOT_UNDERSTOOD or refusal.says_enough:
                raise
            self._singly = True
            return self._singles(client, batch)
        # By key alone, because not every server repeats the version, and no key comes twice.
        by_key = {each.key: each for each in batch}
        return [
            Refusal(
                by_key.get(row.get("Key"), batch[0]),
                Answer(0, row.get("Code", "unknown"), row.get("Message", "")),
            )
            for row in answer.get("Errors", [])
            if row.get("Code") not in _GONE
        ]

    def _singles(self, client: Any, batch: Sequence[Doomed]) -> list[Refusal]:
        with ThreadPoolExecutor(self._connections) as pool:
            return [
                refusal for refusal in pool.map(lambda each: self._single(client, each), batch) if refusal
            ]

    def _single(self, client: Any, doomed: Doomed) -> Refusal | None:
        from botocore.exceptions import ClientError

        try:
            client.delete_object(**self._where, **doomed.parameters)
        except ClientError as error:
            answer = answer_of(error)
            if answer.code in _GONE:
                return None
            if answer.status not in (HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN):
                raise
            return Refusal(doomed, answer)
        return None


def _batches(doomed: Iterable[Doomed]) -> Iterator[list[Doomed]]:
    rest = iter(doomed)
    while batch := list(islice(rest, _BATCH)):
        yield batch
