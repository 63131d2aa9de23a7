"""Rasters: files (`raster`) and windows on any grid (`warp`); nothing else imports rasterio."""
