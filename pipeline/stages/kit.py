"""The earlier name of `pipeline.stages.api`, with the earlier names of what is in it.

Stages of other teams import them; what was promised to stay stays.
"""

from pipeline.stages import api
from pipeline.stages.api import *  # noqa: F403 - these names, and the earlier ones below

Choosing = api.LabelClassifier
Extraction = api.FieldExtractor
Inquiry = api.Query  # type: ignore[type-arg] # users say of what
Invalid = api.InvalidEvent
Matter = api.LabelSet
Steps = api.MultiStepQuery
backwards = api.reverse_labels
narrowed = api.restrict_labels
reworded = api.rephrase
