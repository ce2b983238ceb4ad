"""Distillation: a shallow student learns from a deep teacher on the states that the student itself visits.

distill --teacher runs/pose --run runs/pose_student
"""
