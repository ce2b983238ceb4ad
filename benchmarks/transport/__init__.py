"""Policies and goals over sockets, beside other stacks."""
