"""What of the page strangers can reach: who is let in, and the stop that everybody may press."""
