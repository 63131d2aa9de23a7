"""What the pretrained encoder is held against: rules without parameters, DSen2-CR, encoders of timm and TorchGeo."""
