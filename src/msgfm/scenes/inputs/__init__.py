"""What a scene is made of: files of several sensors, found, checked, and read on one grid."""
