"""Read a TOML file into a pydantic model; every mistake in it ends in one line that says where."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from toolchain.errors import InputError, nearest


class Settings(BaseModel):
    """Base of all values that come from a user's file: frozen, and unknown keys are refused."""

    # Built when first used: `--help` validates nothing, and does not wait for it.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


Model = TypeVar("Model", bound=Settings)


def read_toml(path: Path, model: type[Model], error: type[InputError]) -> Model:
    """Read `path` as a `model`.

    Raises:
        InputError: as the given `error`: absent, not TOML, or a value the model refuses.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as cause:
        raise error(f"{path}: no such file.") from cause
    except (OSError, UnicodeDecodeError) as cause:
        raise error(f"{path}: cannot be read: {cause}.") from cause
    except tomllib.TOMLDecodeError as cause:
        raise error(f"{path}: not TOML: {cause}.") from cause
    try:
        # TOML has no tuples and no enums: lenient about containers, strict about everything else.
        return model.model_validate(_tuples(table))
    except ValidationError as cause:
        raise error(f"{path}: {describe(cause, model)}") from cause


def describe(cause: ValidationError, model: type[BaseModel]) -> str:
    """Put the first mistake of a validation into one line, and count the others."""
    first = cause.errors()[0]
    where = ".".join(str(part) for part in _without_kinds(model, first["loc"])) or "file"
    if first["type"] == "union_tag_invalid":
        kinds = [_kind_of(choice) for choice in _choices_at(model, first["loc"])]
        words = f'unknown kind "{first["ctx"]["tag"]}"; {nearest(str(first["ctx"]["tag"]), kinds)}'
    elif first["type"] == "union_tag_not_found":
        words = f"its {first['ctx']['discriminator'].strip(chr(39))} is missing."
    elif first["type"] == "extra_forbidden":
        known = _keys_at(model, first["loc"][:-1])
        words = f"unknown key; {nearest(str(first['loc'][-1]), known)}"
    elif first["type"] == "missing":
        words = "missing; it has no default."
    elif first["type"] == "value_error":
        words = str(first["ctx"]["error"])
    else:
        words = f"{first['msg']} (got {first['input']!r})."
    others = len(cause.errors()) - 1
    more = (
        f" ({others} more {'mistake' if others == 1 else 'mistakes'} after it.)" if others else ""
    )
    return f"{where}: {words}{more}"


def _keys_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """List the keys that the table at `loc` may have."""
    (table,) = _choices_at(model, loc)
    return [field.alias or name for name, field in table.model_fields.items()]


def _without_kinds(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[int | str]:
    """Return where a mistake is, as the user wrote it: the kind of a table is no key of it."""
    return [part for index, part in enumerate(loc) if len(_choices_at(model, loc[:index])) == 1]


def _choices_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> tuple[type[BaseModel], ...]:
    """Follow `loc` to a table: its model, or its models where its `kind` is still to come."""
    choices: tuple[type[BaseModel], ...] = (model,)
    in_table_of_tables = False
    for part in loc:
        if len(choices) > 1:
            choices = tuple(choice for choice in choices if _kind_of(choice) == part)
            continue
        if in_table_of_tables or isinstance(part, int):
            in_table_of_tables = False  # the part is a name the user chose, or an index
            continue
        field = choices[0].model_fields.get(part)
        if field is None:
            break
        in_table_of_tables = get_origin(field.annotation) is dict
        choices = tuple(_models_in(field.annotation)) or choices
    return choices


def _kind_of(model: type[BaseModel]) -> str:
    """Return the `kind` by which a model is chosen from several."""
    return str(get_args(model.model_fields["kind"].annotation)[0])


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Find the model classes inside `X`, `X | None`, `tuple[X, ...]` or `X | Y`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _models_in(part)]


def _tuples(value: Any) -> Any:
    """Turn lists into tuples, all the way down: values stay frozen."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    return value
