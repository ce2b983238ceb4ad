"""The control loop: policy, goals and safety layer in one tick."""
