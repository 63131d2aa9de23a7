"""Shards: the images of a manifest in few large files, as they are stored, for reading fast and from afar.

A folder of shards, on a disk or under an `s3://` prefix, holds

- `chunk-0-N.bin`: chunks in LitData's format, each item one sample as `codec` packs it;
- `index.json`: LitData's index, so that `litdata.StreamingDataset` reads the folder too;
- `manifest.parquet`: the manifest, with cards, splits and classes; its files are places in the chunks;
- `shards.json`: what belongs to the folder, with the SHA-256 of each file. It is written last.

`read` finds a sample's arrays in them, `verify` holds them against `shards.json`; `msgfm.data.sharding` makes them.
"""
