#!/bin/sh
# Prints the project's own files, one a line: those that git tracks or would track. Arguments are
# shell patterns over the path ('*.c', 'base/*'); a file is printed when one of them matches.
# Outside a git tree (a release archive) the folders that .gitignore names are left out by hand.
set -eu
cd "$(dirname "$0")/.."

list()
{
	git ls-files -co --exclude-standard 2>/dev/null ||
		find . \( -name .git -o -name node_modules -o -name __pycache__ -o -name .venv \
			-o -path ./build \) -prune -o -type f -print | sed 's|^\./||'
}

list | LC_ALL=C sort | while IFS= read -r file; do
	[ -f "$file" ] || continue # deleted, but git still lists it
	[ $# -gt 0 ] || echo "$file"
	for pattern; do
		# shellcheck disable=SC2254 # a pattern is what we want
		case $file in $pattern) echo "$file"; break ;; esac
	done
done
