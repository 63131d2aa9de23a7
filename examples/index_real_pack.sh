#!/usr/bin/env bash
# Indexes the data sets that recipes/pretrain/small.yaml trains on into manifests/.
# Usage: examples/index_real_pack.sh FOLDER   (a folder that holds UCMerced_LandUse, BigEarthNet-v1, ... side by side)
set -euo pipefail
data=$1
cards=$(dirname "$0")/cards
mkdir -p manifests
index() { msgfm data index "$@"; }

# RGB alone; the data set's own split
index image-folder "$data/UCMerced_LandUse" --out manifests/ucmerced.parquet

# Sentinel-1 and Sentinel-2 in physical units: L1C and L2A, 13 and 12 bands, paired and unpaired
l2a=sentinel2:B01,B02,B03,B04,B05,B06,B07,B08,B8A,B09,B11,B12
floods=v1.1/data/flood_events/HandLabeled
index bigearthnet "$data/BigEarthNet-v1" --out manifests/bigearthnet.parquet
index sen12ms "$data/SEN12MS-CR" --out manifests/sen12mscr.parquet
index ssl4eo-s12 "$data/SSL4EO-S12" --out manifests/ssl4eo.parquet
index pairs "$data/TerraMesh" --sensor sentinel1=S1RTC --sensor "$l2a=S2L2A" --val-fraction 0.34 --seed 3 \
    --out manifests/terramesh.parquet
index pairs "$data/Sen1Floods11" --sensor "sentinel1=$floods/S1Hand/{id}_S1Hand.tif" \
    --sensor "sentinel2=$floods/S2Hand/{id}_S2Hand.tif" --out manifests/sen1floods11.parquet
index pairs "$data/Sen1Floods11-S1" --sensor "sentinel1=$floods/S1Hand/{id}_S1Hand.tif" --val-fraction 0.34 \
    --out manifests/sen1floods11_s1.parquet

# Sentinel-1 and Sentinel-2 as 8-bit PNGs: sensors of their own
for part in train test; do
    for date in before after; do
        upper=${date^^}
        index pairs "$data/OMBRIA" --sensor "$cards/ombria_s1.yaml=OmbriaS1/$part/$upper/S1_${date}_{id}.png" \
            --sensor "$cards/ombria_s2.yaml=OmbriaS2/$part/$upper/S2_${date}_{id}.png" \
            --split "$([ $part = train ] && echo train || echo val)" --out "manifests/ombria_${part}_$date.parquet"
    done
done
index pairs "$data/Optical-SAR-dataset/dataset" --sensor "$cards/optical_sar_s1.yaml=sar" \
    --sensor "$cards/optical_sar_rgb.yaml=opt" --val-fraction 0.2 --out manifests/optical_sar.parquet

# optical and elevation; a location stays in one split
index pairs "$data/HLS-Water12" --sensor "$cards/hls.yaml=images/{id}.tif@1-7" \
    --sensor "$cards/dem.yaml=images/{id}.tif@10" --scenes locations.csv --val-fraction 0.2 --out manifests/hls.parquet
