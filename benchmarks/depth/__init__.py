"""What depth does to training: at initialisation, after it, and against as much spent otherwise."""
