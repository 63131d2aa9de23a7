"""Sensor cards: what took an image, which bands it has, and in what units."""

from msgfm.sensors.sensor import Band, Sensor, builtin_sensors, load_sensor

__all__ = ["Band", "Sensor", "builtin_sensors", "load_sensor"]
