"""What values settings have, and what every table of them is."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(gt=0, json_schema_extra={"unit": "seconds"})]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Bytes = Annotated[int, Field(ge=1, json_schema_extra={"unit": "bytes"})]
LanguageCode = Annotated[str, Field(pattern=r"^[a-z]{2}$")]
Dollars = Annotated[Decimal, Field(gt=0, json_schema_extra={"unit": "US dollars"})]
Delivery = Literal["exactly_once", "at_least_once"]
Ordering = Literal["key", "partition", "none"]


class Section(BaseModel):
    """One table of the settings; a name that is not a setting is an error, not a surprise."""

    model_config = ConfigDict(extra="forbid")
