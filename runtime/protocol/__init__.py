"""Messages between clients and a server, addresses, tokens, and the client."""
