"""From files to batches: layouts, manifests, the reader, the mixture of sources."""
