"""What goes on beside the updates (`teacher/beside/`), and what that gains."""
