#!/usr/bin/env bash
# From a fresh clone to a recommendation for this host. Run it again: only what is missing is done.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install.sh export,report
export PATH="$PWD/.venv/bin:$PATH"

vlm-train --model pixels --data digits --resume # what any backbone must beat
for model in mobilenetv3_large_100 resnet50; do
    vlm-train --model "$model" --data digits --epochs 12 --name "$model-digits" --resume
    vlm-export --ckpt "$model-digits" --fmt onnx --precision fp32,fp16
done

# 1: measured, and a check said no (this host was too busy, say). The report says so where the figures would stand.
vlm-profile --target host --batch 1,8 --max-seconds 24 || [ $? -eq 1 ]
vlm-report
