"""Parameters of stages as clients send and read them: parsing with errors that name them, and their schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from pydantic import ValidationError

from common.program_name import program_name
from core.errors import InvalidParameter
from core.stages.parameters import DAMO_RECOGNIZER, UNLIMITED, ParameterValue, StageConfig
from core.stages.stage import STAGES


class ParameterDescription(TypedDict):
    """One parameter of a stage; None where something does not apply."""

    name: str
    type: str
    default: ParameterValue | None
    min: float | None
    max: float | None
    choices: list[object] | None
    description: str


def parse_parameters(stage: str, values: Mapping[str, object]) -> StageConfig:
    """Return all parameters of a stage: `values` over the defaults.

    Raises:
        InvalidParameter: names what is unknown or out of range.
    """
    try:
        return STAGES[stage].parameters.model_validate(dict(values)).model_dump(by_alias=True)
    except ValidationError as error:
        names = ", ".join(parameter["name"] for parameter in describe_parameters(stage)) or "none"
        sentences = []
        for problem in error.errors():
            name = ".".join(str(part) for part in problem["loc"])
            if problem["type"] == "extra_forbidden":
                sentences.append(f"{stage} has no parameter {name!r}")
            else:
                sentences.append(f"{stage}.{name} is {problem['input']!r}: {problem['msg']}")
        wrong = [str(problem["loc"][0]) for problem in error.errors() if problem["loc"]]
        raise InvalidParameter(
            "; ".join(sentences), hint=f"Parameters of {stage}: {names}.", details={"parameters": wrong}
        ) from None


@dataclass(frozen=True, slots=True)
class AcceptedParameters:
    """The parameters of a request that a stage knows, and a sentence for each other one."""

    values: dict[str, object]
    warnings: list[str]


def accept_parameters(stage: str, values: Mapping[str, object]) -> AcceptedParameters:
    """Leave out what a stage does not know, and null, which stands for a default; values are not checked."""
    names = {field.alias or name for name, field in STAGES[stage].parameters.model_fields.items()}
    warnings = [f"{stage} has no parameter {name!r}; it changes nothing." for name in values if name not in names]
    if values.get("model") == DAMO_RECOGNIZER and stage == "asr":
        warnings.append(
            f"{DAMO_RECOGNIZER} stands for the best recognizer of Mandarin that is installed; "
            f"`{program_name()} download sensevoice` fetches one."
        )
    return AcceptedParameters(
        {name: value for name, value in values.items() if name in names and value is not None}, warnings
    )


def describe_parameters(stage: str) -> list[ParameterDescription]:
    """Return the schema of each parameter of a stage."""
    properties = STAGES[stage].parameters.model_json_schema(by_alias=True).get("properties", {})
    return [
        {
            "name": name,
            "type": _type(shape),
            "default": shape.get("default"),
            "min": shape.get("minimum", shape.get("exclusiveMinimum")),
            "max": None if shape.get("maximum") == UNLIMITED else shape.get("maximum", shape.get("exclusiveMaximum")),
            "choices": shape.get("enum"),
            "description": shape.get("description", ""),
        }
        for name, shape in properties.items()
    ]


def _type(shape: Mapping[str, Any]) -> str:
    """Return the JSON type of a property; of an optional one that beside null."""
    if "type" in shape:
        return str(shape["type"])
    types = (str(option["type"]) for option in shape.get("anyOf", ()))
    return next((name for name in types if name != "null"), "string")
