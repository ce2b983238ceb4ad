"""`runtime serve`: the control process, the gateway process and what lies between them."""
