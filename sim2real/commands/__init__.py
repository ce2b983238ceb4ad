"""The sub-commands of `sim2real`, one module for each group; they import what they need when they run."""
