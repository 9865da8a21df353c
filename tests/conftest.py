"""No test leaves a trace in the history of what whoever runs it has practised."""

import os

os.environ["ATTENTION_COURSE_HISTORY"] = "off"
