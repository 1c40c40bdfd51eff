#!/bin/sh
# Formats the C files with clang-format 14, or with --check only says which lines differ.
set -eu
cd "$(dirname "$0")/.."
mode=-i
[ "${1-}" != --check ] || mode='--dry-run -Werror --ferror-limit=3'
# shellcheck disable=SC2086 # options
scripts/files.sh '*.[ch]' | xargs -r clang-format-14 $mode
