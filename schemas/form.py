"""Forms: the parts of a flow's parameters that a form keeps shut until someone opens them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, TypeVar

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

Part = TypeVar("Part")

SHUT: Final[Any] = None
"""The default of a flow's folded parameter, in place of an object: a form that is given one opens the part."""

TAB: Final = {"type": "null", "title": "Default"}
"""The tab that stands for a part left as it is."""


@dataclass(frozen=True, eq=False)
class Fold:
    """Makes None stand for a part with all its defaults, and a name for one of the part's presets.

    Prefect's forms (seen in 3.8.8) fold nothing, but of ``anyOf`` they draw the one tab that the value fits: a part
    whose value is None takes the room of a line.

    Attributes:
        presets: Parameters of the part, under the names that stand for them.
    """

    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def opened(self, value: Any) -> Any:
        """Return the parameters that a value stands for."""
        if value is None:
            return {}
        return dict(self.presets[value]) if isinstance(value, str) and value in self.presets else value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.opened, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        shown = handler(core)
        presets = [{"type": "string", "const": name, "title": name.capitalize()} for name in self.presets]
        return {"anyOf": [dict(TAB), *presets, *shown.get("anyOf", [shown | {"title": "Custom"}])]}


Folded = Annotated[Part, Fold()]
"""A part that a form keeps shut."""


def shut_parts(shown: JsonSchemaValue) -> None:
    """Give the properties of a class the defaults with which a form keeps its folded parts shut.

    A part that is one of several kinds or may be none has its default; one that is always there leaves it to its own
    fields, whose folded parts would be opened by it.
    """
    for name, one in shown.get("properties", {}).items():
        if one.get("anyOf", [None])[0] == TAB:
            one["default"] = None
            one.setdefault("title", name.replace("_", " ").capitalize())
        elif "$ref" in one:
            one.pop("default", None)


def without_shut(given: dict[str, Any], fields: Mapping[str, FieldInfo]) -> dict[str, Any]:
    """Return what was given of a class without its folded parts that are None."""
    shut = {name for name, value in given.items() if value is None and name in fields and _folds(fields[name].metadata)}
    return {name: value for name, value in given.items() if name not in shut} if shut else given


def default_of(annotation: Any, default: Any) -> Any:
    """Return the default of a flow's parameter; that of a folded one is what None stands for."""
    is_shut = default is None and _folds(getattr(annotation, "__metadata__", ()))
    return TypeAdapter(annotation).validate_python(None) if is_shut else default


def _folds(metadata: Iterable[Any]) -> bool:
    return any(isinstance(one, Fold) for one in metadata)
