"""python -m course_utils build [NAME…]   generate and execute the notebooks
python -m course_utils check FILE…     judge the answers in saved notebooks
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from course_utils import _silent_start_of_tensorflow


def main(arguments: Sequence[str]) -> int:
    """Run a command. Returns the exit status: 0 all well, 1 something is not, 2 unusable input."""
    command, *rest = arguments or [""]
    if {"-h", "--help"} & set(arguments):
        print(__doc__, end="")
        return 0
    if command == "build":
        with _silent_start_of_tensorflow():
            from course_utils.build import build
        return build(rest)
    if command == "check" and rest:
        with _silent_start_of_tensorflow():
            from course_utils.saved_check import check_files
        return check_files(rest)
    print(__doc__, end="", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
