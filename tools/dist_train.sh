#!/usr/bin/env bash
# Trains on several processes: tools/dist_train.sh CONFIG PROCESSES [flags of tools/train.py]
# Several nodes: the same command on each, with NNODES, NODE_RANK, PORT and MASTER_ADDR set, as for
# mmdet's script of this name.
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: $0 CONFIG PROCESSES [flags of tools/train.py]" >&2
    exit 2
fi
config=$1
processes=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)

PYTHONPATH="$here/..${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$processes" \
    "$here/train.py" "$config" --launcher pytorch "$@"
