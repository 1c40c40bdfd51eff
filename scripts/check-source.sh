#!/bin/sh
# The rules that no compiler sees. Prints each breach as file:line: text    rule, and exits 1.
set -eu
cd "$(dirname "$0")/.."

all=$(scripts/files.sh)
# The files of a list (default: all) whose path matches an extended regular expression.
pick() { echo "${2:-$all}" | grep -E "$1" || true; }
src=$(pick '^(base|store|auth|local|gateway)/[^/]*\.[ch]$')
c_code=$(pick '^(base|store|auth|local|gateway|tests)/.*\.[ch]$')

# Layers: a folder, then the folders that it may include.
layers='base base
store base store
auth base store auth
local base local
gateway base store auth local gateway'

# Doors: a foreign header, then the only files that may include it.
doors='curl/ base/fetch.c
evhtp gateway/admin_http.c
yaml.h base/yaml.c
nghttp2/ gateway/http_h2.c
hiredis store/store_redis_wire.c
jwt.h auth/jwt.c
git2 local/source_git.c
archive local/source_oci.c'

# Functions that lose the length, keep hidden state, or start a shell.
banned='\b(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atol|alloca|system|popen|localtime|gmtime|ctime|asctime|rand) ?\('

# flag RULE PATTERN FILES: each line of the files that matches, and the rule that it breaks.
flag()
{
	[ -n "$3" ] || return 0
	# shellcheck disable=SC2086 # a list of files without blanks
	grep -HnE -e "$2" $3 /dev/null | sed "s|\$|    $1|" || true
}

check_layers()
{
	echo "$layers" | while read -r dir may; do
		flag include '^ *# *include "' "$(pick "^$dir/" "$src")" | while IFS= read -r hit; do
			to=${hit#*\"} to=${to%%/*}
			case " $may " in *" $to "*) ;; *) echo "$hit: $dir may include only $may" ;; esac
		done
	done
}

check_doors()
{
	echo "$doors" | while read -r header files; do
		flag door "^ *# *include [<\"]$header" "$src" | while IFS= read -r hit; do
			case " $files " in *" ${hit%%:*} "*) ;; *) echo "$hit: only $files" ;; esac
		done
	done
}

# Words that this script itself must spell are written so that they do not match themselves.
check_words()
{
	flag 'banned function' "$banned" "$c_code"
	flag 'unfinished' '\b(TO''DO|FIX''ME|XX''X)\b' "$all_text"
	flag 'protocol versions belong to gateway/era*' '"20[0-9][0-9]-[0-9][0-9]-[0-9][0-9]' \
		"$(echo "$src" | grep -v '^gateway/era' || true)"
	flag 'typedef is for callbacks' '^ *typedef (struct|enum|union)\b' "$c_code"
	flag 'the names ending in _t are taken by POSIX' \
		'^(typedef .*\b[a-z0-9_]+_t;|(struct|enum|union) [a-z0-9_]+_t\b.*\{)' "$c_code"
	flag 'a path of one machine' "(^|[^A-Za-z0-9_./*-])/(work|root|tmp)/[A-Za-z0-9]" "$all_text"
	flag 'a registry in a lock file: npm install --omit-lockfile-registry-resolved' \
		'"resolved": *"http' "$(pick '(^|/)package-lock\.json$')"
	flag 'blanks at the end of a line' '[[:blank:]]+$' "$(pick '\.(c|h|py|sh|mjs|yaml|txt)$')"
}

# Every text but what others made: corpora of the fuzzers and lock files.
all_text=$(pick '\.(c|h|def|py|sh|js|mjs|ts|md|yaml|yml|json|txt|toml|cmake)$|(^|/)(dev|run|Dockerfile[^/]*)$' |
	grep -Ev '^tests/fuzz/corpus/|(^|/)package-lock\.json$' || true)

if { check_layers; check_doors; check_words; } | grep .; then
	exit 1
fi
