"""TF without tf2: transforms between named frames from `/tf` and `/tf_static`, and poses carried along them."""
