"""What an error of S3, of boto3 or of the network means to the caller of a transport."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from bitbacker.errors import (
    ClockSkewed,
    CredentialRefused,
    HostUnknown,
    NotExclusive,
    ObjectExists,
    PlaceMissing,
    StorageDenied,
    StorageError,
    StorageFull,
)

_OPTIONS_HINT = "check the options of this remote, and what its server supports"
_REGION_HINT = "set 'region' of this remote to the region of the bucket"
_EXPIRED_HINT = "the credentials have expired: log in again, or renew the token"
_RESTORE_HINT = (
    "the object lies in an archive: restore it from there first, for example by aws s3api restore-object"
)

_CODES: dict[type[StorageError], str] = {
    StorageDenied: "AccessDenied AllAccessDisabled AccountProblem InvalidObjectState MethodNotAllowed "
    "ObjectLocked",
    CredentialRefused: "InvalidAccessKeyId SignatureDoesNotMatch InvalidSecurity ExpiredToken InvalidToken "
    "ExpiredTokenException TokenRefreshRequired NotSignedUp MissingSecurityHeader",
    PlaceMissing: "NoSuchBucket InvalidBucketName NoSuchTenant PermanentRedirect 301 307 "
    "AuthorizationHeaderMalformed IllegalLocationConstraint IllegalLocationConstraintException",
    ClockSkewed: "RequestTimeTooSkewed RequestExpired RequestInTheFuture",
    StorageFull: "QuotaExceeded StorageQuotaExceeded ServiceQuotaExceeded CapExceeded InsufficientStorage "
    "InsufficientCapacity XMinioStorageFull XMinioAdminBucketQuotaExceeded",
    # These may pass.
    StorageError: "SlowDown ServiceUnavailable InternalError RequestTimeout ConditionalRequestConflict "
    "OperationAborted NoSuchUpload IncompleteBody BadDigest XAmzContentSHA256Mismatch",
}
_CLASSES = {code: cls for cls, codes in _CODES.items() for code in codes.split()}
_REGIONAL = (
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraint",
    "IllegalLocationConstraintException",
    "301",
    "307",
)
_HINTS = {
    "InvalidObjectState": _RESTORE_HINT,
    **dict.fromkeys(("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"), _EXPIRED_HINT),
    **dict.fromkeys(_REGIONAL, _REGION_HINT),
}
# Of an answer whose code the table does not know; a HEAD has no code at all.
_CLASSES_BY_STATUS: dict[int, type[StorageError]] = {
    HTTPStatus.UNAUTHORIZED: CredentialRefused,
    HTTPStatus.REQUEST_TIMEOUT: StorageError,
    HTTPStatus.CONFLICT: StorageError,
    HTTPStatus.TOO_EARLY: StorageError,
    HTTPStatus.TOO_MANY_REQUESTS: StorageError,
    HTTPStatus.NOT_IMPLEMENTED: StorageDenied,
    HTTPStatus.INSUFFICIENT_STORAGE: StorageFull,
}
_WRONG, _FAILED = 400, 500
_ABOUT_CONDITIONS = re.compile(r"if-none-match|condition", re.IGNORECASE)
# What a server might echo of a request: whole headers, or anything as long as a signature or a token.
_SECRETS = re.compile(r"\b(?:Credential|Signature|X-Amz-[\w-]+|[\w-]*[Tt]oken)=[^\s,&<]+|[\w+/=%.~-]{40,}")
_REASON_MAX = 300


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said when it refused."""

    status: int
    code: str
    message: str = ""
    region: str = ""

    @property
    def reason(self) -> str:
        """For a message: the code and the words, without anything that could be a secret."""
        words = _SECRETS.sub("***", " ".join(self.message.split()))[:_REASON_MAX]
        region = f"; the bucket is in region {self.region}" if self.region else ""
        return (f"{self.code}: {words}" if words else self.code) + region

    @property
    def says_enough(self) -> bool:
        """Whether another way to ask for the same would be answered in the same way."""
        return self.is_known and self.code != "MethodNotAllowed"

    @property
    def is_known(self) -> bool:
        """Whether the code alone says what is wrong."""
        return self.code in _CLASSES

    def error(self, action: str) -> StorageError:
        """The error that it means."""
        cls = _CLASSES.get(self.code) or self._class_by_status()
        hint = _HINTS.get(self.code)
        if cls is StorageDenied and not self.is_known and self.status != HTTPStatus.FORBIDDEN:
            hint = _OPTIONS_HINT
        return cls(f"cannot {action}: {self.reason}", hint=hint)

    def condition_error(self, name: str, *, plain: bool) -> StorageError | None:
        """The error when it answers an exclusive put and is about being exclusive.

        A put is `plain` when it asks for nothing else that a server might not know.
        """
        if self.status == HTTPStatus.PRECONDITION_FAILED:
            return ObjectExists(name)
        worded = bool(_ABOUT_CONDITIONS.search(self.message))
        refused: dict[int, bool] = {
            HTTPStatus.NOT_MODIFIED: True,
            HTTPStatus.NOT_IMPLEMENTED: plain or worded,
            HTTPStatus.BAD_REQUEST: worded and not self.is_known,
        }
        if refused.get(self.status, False):
            return NotExclusive(f"the server does not take an exclusive put: {self.reason}")
        return None

    def _class_by_status(self) -> type[StorageError]:
        if self.status in _CLASSES_BY_STATUS:
            return _CLASSES_BY_STATUS[self.status]
        # What is wrong with a request does not become right when it is repeated.
        return StorageDenied if _WRONG <= self.status < _FAILED else StorageError


def answer_of(error: Any) -> Answer:
    """What a `ClientError` of botocore holds."""
    response: Mapping[str, Any] = error.response
    said: Mapping[str, Any] = response.get("Error", {})
    metadata: Mapping[str, Any] = response.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode", 0))
    code = str(said.get("Code") or status)
    region = ""
    if code in _REGIONAL or status == HTTPStatus.MOVED_PERMANENTLY:
        headers = metadata.get("HTTPHeaders", {})
        region = str(headers.get("x-amz-bucket-region") or said.get("Region") or "")
    return Answer(status, code, str(said.get("Message") or ""), region)


@contextmanager
def storage_errors(action: str) -> Iterator[None]:
    """Turn what boto3 raises in the block into the `StorageError` that it means: "cannot <action>: <why>"."""
    # Whoever is here has loaded them, or is about to.
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise answer_of(error).error(action) from error
    except BotoCoreError as error:
        raise _library_error(error, action) from error
    except ValueError as error:
        # An address that makes no sense.
        raise PlaceMissing(f"cannot {action}: {_cleaned(str(error))}") from error
    except OSError as error:
        raise StorageError(f"cannot {action}: {_cleaned(str(error))}") from error
    except Exception as error:
        # What breaks off the body of a listing or of a refusal comes through botocore as it is.
        if type(error).__module__.partition(".")[0] != "urllib3":
            raise
        raise StorageError(f"cannot {action}: {_network_reason(error, list(_chain(error)))}") from error


def _library_error(error: Exception, action: str) -> StorageError:
    """Of what did not get as far as an answer."""
    from botocore import exceptions as raised

    credentials = (
        raised.NoCredentialsError,
        raised.PartialCredentialsError,
        raised.CredentialRetrievalError,
        raised.ProfileNotFound,
        raised.TokenRetrievalError,
        raised.SSOError,
        raised.NoAuthTokenError,
    )
    if isinstance(error, credentials):
        return CredentialRefused(f"cannot {action}: {_cleaned(str(error))}")
    if isinstance(error, (raised.ParamValidationError, raised.InvalidRegionError)):
        return PlaceMissing(f"cannot {action}: {_cleaned(str(error))}")
    chain = list(_chain(error))
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = cause.verify_message or "its certificate is not trusted"
            return HostUnknown(
                f"cannot {action}: the server is not who it says it is: {why}",
                hint="name the certificate of its authority in 'ca_bundle' of this remote",
            )
        if isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN:
            return PlaceMissing(f"cannot {action}: the name of the server is unknown: {cause.strerror}")
    return StorageError(f"cannot {action}: {_network_reason(error, chain)}")


def _network_reason(error: Exception, chain: list[BaseException]) -> str:
    """In words that hold no address, since addresses of requests have queries."""
    from botocore import exceptions as raised

    if isinstance(error, (raised.ConnectTimeoutError, raised.ReadTimeoutError)):
        return "the server has not answered for too long"
    if isinstance(error, (raised.IncompleteReadError, raised.ResponseStreamingError)):
        return "the answer ends early"
    for cause in reversed(chain):
        if isinstance(cause, TimeoutError):
            return "nothing has moved on the connection for too long"
        if isinstance(cause, OSError) and cause.strerror:
            return f"the connection failed: {cause.strerror}"
    return f"the connection failed: {type(error).__name__}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and what it came from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        inner = getattr(error, "kwargs", {}).get("error") if hasattr(error, "kwargs") else None
        error = error.__cause__ or error.__context__ or (inner if isinstance(inner, BaseException) else None)


def _cleaned(text: str) -> str:
    return _SECRETS.sub("***", " ".join(text.split()))[:_REASON_MAX]
