"""A frozen dataclass as the schema of a table: names, types and units are checked, errors say where.

| annotation | what the file may say |
|---|---|
| `bool`, `int`, `float`, `str`, `Located` | that |
| `int` or `float`, name ends in `_bytes` | also `"512 KiB"`, `"10 GB"` |
| `int` or `float`, name ends in `_s` | also `"90s"`, `"12h"`, `"7d"`; `"never"` where None is allowed |
| `Literal["a", "b"]` | one of the words |
| `tuple[X, ...]` | an array |
| `Secret` | `{ command = [...] }` and the like; it is resolved |
| a dataclass | a subtable |
| `X | None` | as X; the absent key gives the default |

A field made by `spi.path()` holds a path, or a tuple of paths: `~` is expanded, and a relative one
is taken from the directory of the file in which it stands.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, NoReturn, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from bitbacker.config.given import beside, source_in_table
from bitbacker.config.secrets import SecretSource, resolve
from bitbacker.config.table import Table
from bitbacker.config.units import duration_s, size_bytes
from bitbacker.errors import ConfigError, PluginError, SecretError
from bitbacker.spi import PATH, Located, Secret

KEY = "bitbacker.key"
"""Metadata key of a field that is called otherwise in the file."""

ResolveSecret = Callable[[SecretSource], Secret]

T = TypeVar("T")

_WORDS = {bool: "true or false", int: "an integer", float: "a number", str: "a string", Located: "a string"}


@dataclass(frozen=True, slots=True)
class SchemaField:
    """A field of a schema: its key in the file, its annotation, and its dataclass field."""

    key: str
    hint: Any
    field: dataclasses.Field[Any]


def make_config(
    schema: type[T], table: Mapping[str, Any], where: str = "", *, secrets: ResolveSecret = resolve
) -> T:
    """An instance of `schema` with the values of `table`.

    `where` names a plain mapping in messages; a `Table` knows its own name and place.
    Raises `ConfigError` for unknown, missing or wrong values, `SecretError` for a secret that cannot
    be had, `PluginError` for a schema that nothing can be converted to.
    """
    spot = table if isinstance(table, Table) else Table(where, dict(table))
    known = {field.key: field for field in schema_fields(schema)}
    for key in set(known) & set(spot.known):
        raise PluginError(f"{schema.__qualname__} may not have a field {key!r}: {spot.name} uses it itself")
    spot.refuse_unknown(known)
    values = {
        field.field.name: _Conversion(spot, field, secrets).value()
        for key, field in known.items()
        if key in spot
    }
    for field in known.values():
        if field.field.name not in values and _is_required(field.field):
            raise spot.error(f"{spot.name} lacks {field.key!r}")
    return _made(schema, values, spot)


def schema_fields(schema: type[Any]) -> tuple[SchemaField, ...]:
    """What a table of this schema may hold.  Raises `PluginError` for annotations that mean nothing."""
    try:
        hints = get_type_hints(schema)
    except Exception as error:
        raise PluginError(
            f"the annotations of {schema.__qualname__} cannot be understood: {error}"
        ) from error
    return tuple(
        SchemaField(field.metadata.get(KEY, field.name), hints[field.name], field)
        for field in dataclasses.fields(schema)
        if field.init
    )


def _made(schema: type[T], values: Mapping[str, Any], spot: Table) -> T:
    """Call the class; what its own checks say gets the place of the key that they mention."""
    try:
        return schema(**values)
    except SecretError:
        raise
    except (ConfigError, ValueError) as error:
        if spot.file and str(error).startswith(f"{spot.file}:"):
            raise
        mentioned = [key for key in spot if repr(str(key)) in str(error)]
        raise spot.error(f"{spot.name}: {error}", *mentioned[:1]) from error


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


@dataclass(frozen=True, slots=True)
class _Conversion:
    """Of one value: the table it is in, and the field that it is for."""

    table: Table
    field: SchemaField
    secrets: ResolveSecret

    def value(self) -> Any:
        hints = _alternatives(self.field.hint)
        if Secret in hints or SecretSource in hints:
            # Asked first, so that no variable holds what somebody may have written out.
            source = source_in_table(self.table, self.field.key)
            return self.secrets(source) if Secret in hints else source
        return self._converted(self.table[self.field.key], self.field.hint, ())

    def _converted(self, value: Any, hint: Any, below: tuple[int, ...]) -> Any:
        options = _alternatives(hint)
        if type(None) in options:
            if value == "never" and self._is_duration():
                return None
            options = tuple(option for option in options if option is not type(None))
        if len(options) != 1:
            self._unusable(hint)
        hint = options[0]
        if get_origin(hint) is tuple:
            return self._array(value, hint, below)
        if get_origin(hint) is Literal:
            return self._word(value, get_args(hint), below)
        if dataclasses.is_dataclass(hint):
            return self._subtable(value, cast("type[Any]", hint))
        return self._scalar(value, hint, below)

    def _scalar(self, value: Any, hint: Any, below: tuple[int, ...]) -> Any:
        if hint not in _WORDS:
            self._unusable(hint)
        if hint in (int, float) and isinstance(value, str):
            return self._with_unit(value, hint, below)
        if hint is float and type(value) is int:
            return float(value)
        fits = isinstance(value, str) if hint in (str, Located) else type(value) is hint
        if not fits:
            self._wrong(f"must be {_WORDS[hint]}", below)
        if self.field.field.metadata.get(PATH) and isinstance(value, str):
            value = self._path(value, below)
        return Located(value) if hint is Located and not isinstance(value, Located) else value

    def _path(self, text: str, below: tuple[int, ...]) -> str:
        if text:
            return _moved(text, beside(text))
        if below:
            # It would become the directory of the file, which nobody means.
            self._wrong("holds an empty path", below)
        return text

    def _with_unit(self, text: str, hint: type[Any], below: tuple[int, ...]) -> Any:
        try:
            if self._is_duration():
                return hint(duration_s(text))
            if self.field.field.name.endswith("_bytes"):
                return hint(size_bytes(text))
        except ValueError as error:
            self._wrong(f"must be {error}", below)
        return self._wrong(f"must be {_WORDS[hint]}", below)

    def _array(self, value: Any, hint: Any, below: tuple[int, ...]) -> tuple[Any, ...]:
        if not isinstance(value, (tuple, list)):
            self._wrong("must be an array", below)
        item = get_args(hint)[0]
        if get_args(hint)[1:] != (...,):
            self._unusable(hint)
        return tuple(self._converted(each, item, (*below, index)) for index, each in enumerate(value))

    def _word(self, value: Any, words: Sequence[Any], below: tuple[int, ...]) -> Any:
        if value in words:
            return next(word for word in words if word == value)
        close = get_close_matches(str(value), [str(word) for word in words], n=1)
        guess = f"; did you mean {close[0]!r}?" if close else ""
        return self._wrong(f"must be one of {', '.join(repr(word) for word in words)}{guess}", below)

    def _subtable(self, value: Any, schema: type[Any]) -> Any:
        if not isinstance(value, Mapping):
            self._wrong("must be a table", ())
        name = f"{self.field.key!r} in {self.table.name}"
        return make_config(schema, value, name, secrets=self.secrets)

    def _is_duration(self) -> bool:
        return self.field.field.name.endswith("_s")

    def _wrong(self, complaint: str, below: tuple[int, ...]) -> NoReturn:
        raise self.table.error(f"{self.field.key!r} in {self.table.name} {complaint}", self.field.key, *below)

    def _unusable(self, hint: Any) -> NoReturn:
        raise PluginError(
            f"{self.field.field.name!r} is annotated with {hint}, which no configuration can give"
        )


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _moved(text: str, path: str) -> Located:
    return Located(path, text.file, text.line) if isinstance(text, Located) else Located(path)
