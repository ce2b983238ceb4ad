"""The parts of `sim2real check`: each prints what it finds and returns problems, in sentences without a full stop."""
