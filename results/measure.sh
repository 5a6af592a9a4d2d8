#!/usr/bin/env bash
# Measures everything again on this machine and makes all tables and pictures of it: an hour, and the machine
# should have nothing else to do. What is measured is kept in results/<machine>/.
set -euo pipefail
cd "$(dirname "$0")/.."

.ci/size --record
cargo bench --bench speedups -- --record
cargo bench --bench speedups -- --record --large-pages
cargo bench --bench sweep -- --record
for level in avx2 portable; do
    GRADIX_LEVEL=$level cargo bench --bench sweep -- --record || echo "this CPU does not have $level"
done
cargo bench --bench curves -- --record
cargo bench --bench parallel -- --record
(cd benches/peers && cargo run --release -- --record && cargo run --release --bin linear -- --record)
python3 benches/peers/python/compare.py --record || echo "Python's libraries are left out"
cargo bench --bench report
