"""Labels chosen by meaning, too, with an encoder that knows a few words."""

from pipeline.local.simulated.stand_in.label_scores import HAIKU, SONNET, LabelSet
from tests.encoders import WordEncoder

LABELS = ["money", "faults", "other"]
SAID = """\
- money: Charges and invoices.
  Example: "zorp the blicket"
  Example: "my frobnitz vanished"
- faults: Errors and outages.
- other: Everything else.
"""
ENCODER = WordEncoder(zibble="outages", quork="errors")


def test_a_label_is_found_without_a_word_in_common() -> None:
    text = "zibble and quork"
    assert LabelSet(LABELS, [SAID], SONNET).choose(text).value == "other"
    assert LabelSet(LABELS, [SAID], SONNET, ENCODER).choose(text).value == "faults"


def test_examples_are_read_one_by_one_by_sonnet_and_not_at_all_by_haiku() -> None:
    text = "my frobnitz vanished"
    sonnet = LabelSet(LABELS, [SAID], SONNET, ENCODER)
    haiku = LabelSet(LABELS, [SAID], HAIKU, ENCODER)
    assert sonnet.choose(text).value == "money"
    assert haiku.choose(text).value == "other"


def test_what_is_like_no_label_is_still_left_to_the_rest() -> None:
    choice = LabelSet(LABELS, [SAID], SONNET, ENCODER).choose("zebras sleep well")
    assert choice.value == "other"
