"""The process that converses with clients: requests, goals, lease, recording and metrics, beside the control loop."""
