"""Rasters: files (`raster`, the only place that imports rasterio) and windows."""
