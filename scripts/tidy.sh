#!/bin/sh
# Runs clang-tidy 14 over the C files of the layers, or over the files given, two at a time.
# A file that passed is not read again until it, a header it includes, or the checks change:
# the passes are remembered under build/lint by the hash of all of that.
# With --fix it only adds the braces that are missing, and formats.
set -eu
cd "$(dirname "$0")/.."
python=$(pkg-config --cflags python-3.11-embed 2>/dev/null | sed 's/-I/-isystem /g')
flags="-std=gnu17 -D_GNU_SOURCE -include build/lint/version.h -I. -Wall -Wextra $python"
passed=build/lint/tidy

# One file a process: clang-tidy 14 makes things up about va_list when it reads several.
if [ "${1-}" = --one ]; then
	file=$2
	# shellcheck disable=SC2086 # options
	hash=$({
		cat .clang-tidy scripts/tidy.sh
		gcc $flags -MM -MT x "$file" | sed 's/^x://; s/\\$//' | xargs cat
	} | sha256sum | cut -d' ' -f1)
	[ ! -e "$passed/$hash" ] || exit 0
	# shellcheck disable=SC2086 # options
	clang-tidy-14 --quiet "$file" -- $flags 2>"$passed/$hash.err" >"$passed/$hash.out" && ok=1 || ok=0
	if [ "$ok" = 1 ]; then
		: >"$passed/$hash"
	else
		cat "$passed/$hash.out"
		grep -E 'error:' "$passed/$hash.err" || true
	fi
	rm -f "$passed/$hash.err" "$passed/$hash.out"
	[ "$ok" = 1 ]
	exit
fi

mkdir -p "$passed"
echo '#define HEADGATE_VERSION "0"' >build/lint/version.h
find "$passed" -type f -mtime +30 -delete
if [ "${1-}" = --fix ]; then
	for file in $(scripts/files.sh 'base/*.c' 'store/*.c' 'auth/*.c' 'local/*.c' 'gateway/*.c'); do
		# shellcheck disable=SC2086 # options
		clang-tidy-14 --quiet --fix --checks='-*,readability-braces-around-statements' \
			"$file" -- $flags >/dev/null 2>&1 || true
	done
	exec scripts/format.sh
fi
if [ $# -gt 0 ]; then
	printf '%s\n' "$@"
else
	scripts/files.sh 'base/*.c' 'store/*.c' 'auth/*.c' 'local/*.c' 'gateway/*.c'
fi | xargs -r -P 2 -n 1 scripts/tidy.sh --one
