"""From a pretrained encoder to a model of a task: fine-tuning, probing, evaluation."""
