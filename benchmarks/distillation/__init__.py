"""The control experiment: is a distilled student better than a shallow policy trained directly, and why."""
