"""The page that a distillation ends with: where the student is as good as its teacher, and where it is not."""
