#!/usr/bin/env bash
# Indexes the labelled sets of the pack of real images into manifests/tasks/, for the recipes in recipes/finetune/.
# Usage: examples/index_finetune_pack.sh FOLDER   (a folder that holds UCMerced_LandUse, BigEarthNet-v1, ... side by side)
set -euo pipefail
data=$1
here=$(dirname "$0")
cards=$here/cards
mkdir -p manifests/tasks
index() {  # NAME LAYOUT FOLDER OPTION...
    local out=manifests/tasks/$1.parquet
    shift
    msgfm data index "$@" --out "$out"
}

# classification
index ucmerced ucmerced "$data/UCMerced_LandUse"
index eurosat eurosat "$data/EuroSAT"
index bigearthnet bigearthnet "$data/BigEarthNet-v1"

# segmentation. OMBRIA: both dates and both sensors as PNGs; its own train and test come from the same floods
index ombria pairs "$data/OMBRIA" --mask "OmbriaS1/{split}/MASK/S1_mask_{id}.png" \
    --mask-class 0=dry --mask-class 255=flooded \
    --sensor "$cards/ombria_s1.yaml@before=OmbriaS1/{split}/BEFORE/S1_before_{id}.png" \
    --sensor "$cards/ombria_s1.yaml@after=OmbriaS1/{split}/AFTER/S1_after_{id}.png" \
    --sensor "$cards/ombria_s2.yaml@before=OmbriaS2/{split}/BEFORE/S2_before_{id}.png" \
    --sensor "$cards/ombria_s2.yaml@after=OmbriaS2/{split}/AFTER/S2_after_{id}.png"
# a location stays in one split; the same locations are held out as in index_real_pack.sh
index hls_water pairs "$data/HLS-Water12" --mask "labels/{id}.png" --mask-class 0=land --mask-class 1=water \
    --sensor "$cards/hls.yaml=images/{id}.tif@1-7" --sensor "$cards/dem.yaml=images/{id}.tif@10" \
    --scenes locations.csv --val-fraction 0.2
index sen1floods11 sen1floods11 "$data/Sen1Floods11"
index sen1floods11_s1 sen1floods11 "$data/Sen1Floods11-S1"
# the classes have no published names; 0 is no data, and numbers above 11 are the JPEGs' noise
dunes=()
for class in $(seq 1 11); do dunes+=(--mask-class "$class=class $class"); done
index dunes pairs "$data/Dunes-RGB-Seg" --sensor "rgb=images/{id}.jpg" --set rgb.nodata=0 \
    --mask "labels/{id}_label.jpg" "${dunes[@]}"

# change
index levir levir-cd "$data/LEVIR-CD-256"

# cloud removal: SEN12MS-CR's triplet, and of SSL4EO-S12 a clear and a cloudy date, with the radar image next to the latter
index sen12ms_cr sen12ms-cr "$data/SEN12MS-CR"
index ssl4eo_clouds pairs "$data/SSL4EO-S12" \
    --sensor "sentinel1=s1/{id}/S1A_IW_GRDH_1SDV_20200903T131212_20200903T131237_034195_03F8F5_AC1C/{band}.tif" \
    --sensor "sentinel2=s2c/{id}/20200604T054639_20200604T054831_T43RCP/{band}.tif" \
    --sensor "sentinel2@cloudy=s2c/{id}/20200823T054639_20200823T055618_T43RCP/{band}.tif"

# pan-sharpening: two images and one, each cut into parts that train, validate and test
index spacenet6_whole pairs "$data/SpaceNet6-Rotterdam/pansharpen" --sensor "$cards/worldview2.yaml=ms{id}.tif" \
    --sensor "$cards/worldview2_pan.yaml=pan{id}.tif"
index landsat8_whole pairs "$data/Landsat8" --sensor "$cards/landsat8_ms.yaml={id}/l8_{band}.tif" \
    --sensor "$cards/landsat8_pan.yaml={id}/l8_{band}.tif"
for name in spacenet6 landsat8; do
    python "$here/split_scene.py" manifests/tasks/${name}_whole.parquet manifests/tasks/$name.parquet
done

# heights from photographs
index rgb_dsm pairs "$data/RGB-DSM/tuniu_river_uav" --sensor rgb=rgb --set rgb.nodata=0 --sensor dsm=dsm
