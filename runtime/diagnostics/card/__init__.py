"""Model cards: what a policy file is, what it was measured to do, and where that ends. `runtime inspect --card`."""
