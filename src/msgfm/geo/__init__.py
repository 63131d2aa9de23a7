"""Rasters: grids, files, reading them on a grid, writing; nothing else imports rasterio."""
