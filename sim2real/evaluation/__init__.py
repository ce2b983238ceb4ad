"""Success of policies over whole episodes."""
