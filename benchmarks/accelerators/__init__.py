"""What needs a GPU, or would run on one."""
