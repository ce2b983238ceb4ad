"""The robot's messages, as records, as bytes and on topics."""
