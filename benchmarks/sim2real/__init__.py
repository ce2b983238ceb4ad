"""Identification, randomisation and the loop between them."""
