"""The model: embeddings, Swin encoder with a mixture of experts, decoders, and msGFM itself. Needs torch alone."""
