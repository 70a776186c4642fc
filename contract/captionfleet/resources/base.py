"""What all resource types share: camelCase names on the outside, no unknown fields, CEL rules."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict


class Resource(BaseModel):
    """A part of a manifest. An unknown field is an error, because an ignored field lies."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True,
        extra="forbid", frozen=True, serialize_by_alias=True, use_attribute_docstrings=True,
    )  # fmt: skip

    def as_manifest(self) -> dict[str, Any]:
        """The camelCase form without unset optional fields, as it stands in a manifest."""
        return self.model_dump(mode="json", exclude_none=True)


def rule(expression: str, message: str) -> JsonDict:
    """One CEL rule: `self` is the object it stands on; the message says what to do."""
    return {"rule": expression, "message": message}


def rules(*each: JsonDict) -> ConfigDict:
    """The model_config of a type whose objects must obey these CEL rules."""
    return ConfigDict(json_schema_extra={"x-kubernetes-validations": list(each)})


Quantity = Annotated[
    str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$", max_length=20)
]


def keys(longest: int, *each: JsonDict) -> JsonDict:
    """For a map's json_schema_extra: a CRD can bound a map's keys by rules alone."""
    length = rule(
        f"self.all(key, size(key) <= {longest})", f"keys must not exceed {longest} characters"
    )
    return {"x-kubernetes-validations": [length, *each]}


Labels = Annotated[
    dict[str, Annotated[str, StringConstraints(max_length=63)]],
    Field(max_length=32, json_schema_extra=keys(317)),
]

_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
          "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "": 1}  # fmt: skip


def quantity_bytes(quantity: str) -> int:
    """The bytes of a quantity such as `4Gi`, `500M` or `1024`."""
    number = quantity.rstrip("KMGTik")
    return int(float(number) * _UNITS[quantity[len(number) :]])


class LabelSelector(Resource):
    match_labels: Labels = {}
    """Labels that the other side must carry, all of them. Empty matches everything."""

    def matches(self, labels: dict[str, str]) -> bool:
        return self.match_labels.items() <= labels.items()
