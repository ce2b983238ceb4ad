"""Contrastive goal-conditioned teachers of any depth.

train-teacher --task franka_pose --run runs/pose
"""
