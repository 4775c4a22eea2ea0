import re

from pipeline.doctor import CHECKS
from tests.deploy.tools import ROOT

TEXT = (ROOT / "docs" / "DOCTOR.md").read_text("utf-8")


def test_the_table_has_every_check_in_order_with_what_it_finds() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (.+) \|$", TEXT, re.MULTILINE)
    assert rows == [(check.name, check.finds) for check in CHECKS]


def test_no_two_checks_have_one_name() -> None:
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names) >= 20
