"""Every number that README quotes, as a script that prints a table and writes JSON."""

from sim2real.drawing import draw_nothing

# Before any of them imports MuJoCo.
draw_nothing()
