"""The policy as a service: readings in, command out, for people who keep their own control loop."""
