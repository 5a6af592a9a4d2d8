#!/usr/bin/env bash
# Measures everything again on this machine and makes all tables and pictures of it: about half an hour, and the machine
# should have nothing else to do. What is measured is kept in results/<machine>/.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo bench --bench speedups -- --record
cargo bench --bench curves
cargo bench --bench parallel
(cd benches/peers && cargo run --release -- --record)
python3 benches/peers/python/compare.py --record || echo "Python's libraries are left out"
cargo bench --bench report
