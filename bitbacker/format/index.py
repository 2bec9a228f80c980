"""Pages of an index table: where chunks lie.  docs/format.md section 7.

Records ascend by chunk id.  A location names its segment by its position in the table's root.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bitbacker.errors import FormatError
from bitbacker.format.block import CHUNK_ID_SIZE_BYTES
from bitbacker.format.wire import Reader, Writer

PAGE_RECORDS_MAX = 8_192

IDS_DTYPE = np.dtype([("high", ">u8"), ("low", ">u8")])
"""A chunk id as two numbers, so that ids compare as their bytes do."""

LOCATION_DTYPE = np.dtype([("segment", "<u4"), ("block", "<u2"), ("offset", "<u4"), ("size", "<u4")])


@dataclass(frozen=True, slots=True)
class IndexPage:
    """Sorted ids (n x 16 bytes) and their locations."""

    ids: npt.NDArray[np.void]
    locations: npt.NDArray[np.void]


def encode_page(page: IndexPage) -> bytes:
    """Column by column, because columns compress better than rows."""
    writer = Writer()
    writer.u32(len(page.ids))
    writer.array(page.ids)
    for name in ("segment", "block", "offset", "size"):
        writer.array(np.ascontiguousarray(page.locations[name]))
    return writer.bytes()


def decode_page(raw: bytes | memoryview) -> IndexPage:
    """Raises `FormatError`, also for ids that do not ascend."""
    reader = Reader(raw)
    count = reader.u32()
    if not 0 < count <= PAGE_RECORDS_MAX:
        raise FormatError(f"an index page of {count} records")
    ids = np.frombuffer(reader.view(count * CHUNK_ID_SIZE_BYTES), dtype=IDS_DTYPE)
    locations = np.empty(count, dtype=LOCATION_DTYPE)
    for name, dtype in (("segment", "<u4"), ("block", "<u2"), ("offset", "<u4"), ("size", "<u4")):
        locations[name] = reader.array(dtype, count)
    reader.end()
    high, low = ids["high"], ids["low"]
    ascends = (high[1:] > high[:-1]) | ((high[1:] == high[:-1]) & (low[1:] > low[:-1]))
    if not bool(ascends.all()):
        raise FormatError("an index page whose ids do not ascend")
    return IndexPage(ids, locations)
