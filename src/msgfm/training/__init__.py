"""Training and what it leaves behind: pretraining, and what every run needs. The one place that needs Lightning."""
