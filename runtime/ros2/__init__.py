"""Goals in and joint states out over ROS 2's topics, with no ROS installation: DDS through the cyclonedds package."""
