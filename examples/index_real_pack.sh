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

# Sentinel-1 and Sentinel-2 in physical units: Level-1C and Level-2A, paired and unpaired
floods=v1.1/data/flood_events/HandLabeled
index bigearthnet "$data/BigEarthNet-v1" --out manifests/bigearthnet.parquet
index sen12ms "$data/SEN12MS-CR" --out manifests/sen12mscr.parquet
for product in s2c s2a; do
    index ssl4eo-s12 "$data/SSL4EO-S12" --product $product --out manifests/ssl4eo_$product.parquet
done
# one of three places is held out; in the Level-1C files of the other two the 1000 of processing baseline 04.00 is still in
index pairs "$data/TerraMesh" --sensor sentinel1=S1RTC --sensor sentinel2_l2a=S2L2A --val-fraction 0.34 --seed 3 \
    --out manifests/terramesh_l2a.parquet
index pairs "$data/TerraMesh" --sensor "sentinel1=S1RTC/{id}_378R_2_3.tif" \
    --sensor "sentinel2=S2L1C/{id}_378R_2_3.tif" --split val --out manifests/terramesh_l1c_378R_2_3.parquet
for place in 485L_3_3 541L_3_0; do
    index pairs "$data/TerraMesh" --sensor "sentinel1=S1RTC/{id}_$place.tif" \
        --sensor "sentinel2=S2L1C/{id}_$place.tif" --set sentinel2.offset=-1000 --split train \
        --out manifests/terramesh_l1c_$place.parquet
done
index pairs "$data/Sen1Floods11" --sensor "sentinel1=$floods/S1Hand/{id}_S1Hand.tif" \
    --sensor "sentinel2=$floods/S2Hand/{id}_S2Hand.tif" --out manifests/sen1floods11.parquet
index pairs "$data/Sen1Floods11-S1" --sensor "sentinel1=$floods/S1Hand/{id}_S1Hand.tif" --val-fraction 0.34 \
    --out manifests/sen1floods11_s1.parquet

# made-up places, since the real ones are few: Level-1C, and its bands but for B10 once more as Level-2A
msgfm data synth synth --scenes 600 --seed 11 --kinds sen12ms
index sen12ms synth/sen12ms --out manifests/synth_l1c.parquet
index pairs synth/sen12ms --sensor "sentinel1=**/{scene}_s1_{id}.tif" \
    --sensor "sentinel2_l2a=**/{scene}_s2_{id}.tif@1-10,12-13" --split train --out manifests/synth_l2a.parquet

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
