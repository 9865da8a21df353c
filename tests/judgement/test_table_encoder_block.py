"""The table's row of encoder_block."""

from .table_tests import judged_and_tested


def test_all_mistakes_and_pairs():
    judged_and_tested("encoder_block")
