"""The sub-commands of `sim2real`, one module for each group; they import what they need when they run."""

from sim2real.drawing import draw_nothing

# Before any of them imports MuJoCo.
draw_nothing()
