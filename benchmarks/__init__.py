"""Every number that README quotes, as a script that prints a table and writes JSON."""
