"""The table's row of self_attention."""

from .table_tests import judged_and_tested


def test_all_mistakes_and_pairs():
    judged_and_tested("self_attention")
