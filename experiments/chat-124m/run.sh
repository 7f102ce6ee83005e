#!/bin/sh
# Mixes the corpora, trains, measures bits per byte of each corpus, and asks some questions.
#   sh run.sh OUT CORPUS.jsonl.gz ...
# MINUTES=1 and FLAGS="--transformer.num_hidden_layers 2 ..." try it in small, without a GPU.
set -eu
here=$(dirname "$0")
out=$1
shift
python "$here/mix.py" --out "$out/mix" "$@"
# shellcheck disable=SC2086
duologue pretrain "$here/chat-124m.toml" --data "$out/mix/train.jsonl" --out "$out/run" \
    --minutes "${MINUTES:-20}" ${FLAGS:-}
duologue evaluate "$out/run/pretraining/model" --data "$out/mix/held_out.jsonl" --json > "$out/bits_per_byte.json"
cat > "$out/questions.jsonl" <<'ROWS'
{"messages": [{"role": "user", "content": "Hello! How are you today?"}]}
{"messages": [{"role": "user", "content": "What is the capital of France?"}]}
{"messages": [{"role": "user", "content": "你好，最近心情怎么样？"}]}
{"messages": [{"role": "user", "content": "北京有什么好玩的地方？"}]}
ROWS
duologue generate "$out/run/pretraining/model" --input "$out/questions.jsonl" --max-new-tokens 100 --seed 0 \
    > "$out/samples.jsonl"
