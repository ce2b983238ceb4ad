"""What can go on beside the updates: those of the actor beside the critic's, and the next rollout."""
