"""No bytes make a decoder do anything but decode them or say in our own words what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitbacker.errors import BitBackerError
from format.decoders import Decoder, decoders, sloppy

every_decoder = pytest.mark.parametrize("decoder", decoders(), ids=str)


Family = Callable[[bytes], Iterator[bytes]]


class Escaped(AssertionError):
    """A decoder did what no decoder may do."""


def feed(decoder: Decoder, data: bytes) -> bool:
    """Whether the decoder takes the bytes.  Raises `Escaped`."""
    try:
        value = decoder.decode(data)
    except BitBackerError:
        return False
    except Exception as error:
        raise Escaped(f"{decoder} raised {error!r} for {data.hex()}") from error
    if decoder.encode is not None and decoder.encode(value) != data:
        raise Escaped(f"{decoder} takes {data.hex()}, which no writer makes")
    return True


def truncated(example: bytes) -> Iterator[bytes]:
    return (example[:size] for size in range(len(example)))


def flipped(example: bytes) -> Iterator[bytes]:
    for position in range(len(example)):
        for bit in range(8):
            yield example[:position] + bytes([example[position] ^ 1 << bit]) + example[position + 1 :]


def extreme(example: bytes) -> Iterator[bytes]:
    """Each four bytes replaced by numbers at the borders of what fits."""
    for value in (0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1):
        for position in range(len(example) - 3):
            yield example[:position] + value.to_bytes(4, "little") + example[position + 4 :]


def spliced(example: bytes) -> Iterator[bytes]:
    """Pieces left out, and pieces doubled."""
    cuts = sorted({*range(0, len(example), max(1, len(example) // 16)), len(example)})
    for low, high in pairwise(cuts):
        yield example[:low] + example[high:]
        yield example[:high] + example[low:]


def extended(example: bytes) -> Iterator[bytes]:
    return (example + tail for tail in (b"\0", b"\xff", bytes(8), example))


FAMILIES = (truncated, flipped, extreme, spliced, extended)
every_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)


@every_decoder
def test_the_example_is_taken(decoder: Decoder) -> None:
    assert feed(decoder, decoder.example)


def feed_all(decoder: Decoder, inputs: Iterable[bytes]) -> list[bytes]:
    """Those that the decoder takes.  Raises `Escaped`."""
    return [data for data in inputs if feed(decoder, data)]


@every_decoder
@every_family
def test_spoiled_bytes_raise_our_errors_only(decoder: Decoder, family: Family) -> None:
    feed_all(decoder, family(decoder.example))


@every_family
def test_a_sloppy_decoder_is_caught(family: Family) -> None:
    with pytest.raises(Escaped):
        feed_all(sloppy(), family(sloppy().example))


@pytest.mark.parametrize("decoder", [d for d in decoders() if d.encode is not None], ids=str)
@pytest.mark.parametrize("family", [truncated, extended], ids=lambda family: family.__name__)
def test_a_part_of_it_and_more_than_it_are_refused(decoder: Decoder, family: Family) -> None:
    assert feed_all(decoder, family(decoder.example)) == []


@every_decoder
@settings(max_examples=60)
@given(data=st.binary(max_size=300))
def test_random_bytes_raise_our_errors_only(decoder: Decoder, data: bytes) -> None:
    feed(decoder, data)


def test_a_sloppy_decoder_is_caught_by_random_bytes() -> None:
    @settings(max_examples=60, database=None, report_multiple_bugs=False)
    @given(st.binary(max_size=300))
    def fuzz(data: bytes) -> None:
        feed(sloppy(), data)

    with pytest.raises(Escaped):
        fuzz()


@st.composite
def mutations(draw: st.DrawFn, example: bytes) -> bytes:
    """A few changes of a valid example, of any sort."""
    data = bytearray(example)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        end = draw(st.integers(at, min(len(data), at + 8)))
        data[at:end] = draw(st.binary(max_size=8))
    return bytes(data)


@every_decoder
@settings(max_examples=60)
@given(data=st.data())
def test_mutated_examples_raise_our_errors_only(decoder: Decoder, data: st.DataObject) -> None:
    feed(decoder, data.draw(mutations(decoder.example)))
