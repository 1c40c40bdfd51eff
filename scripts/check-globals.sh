#!/bin/sh
# Fails when a library given exports a variable that can be written. State hangs from a struct that
# is passed; what a file must keep for itself (the log, the metrics) is static.
set -eu
# Symbol tables only: .data.rel.ro holds constants with pointers in them, which is fine.
objdump -t "$@" | awk '
	/: +file format/ { file = $1 }
	/ g +O \.(data|bss|tdata|tbss)(\.[a-zA-Z0-9_]+)?\t/ && !/\.data\.rel\.ro/ && !/__(gcov|llvm|asan|odr_asan|start_|stop_)/ {
		print file " " $NF "    an exported variable"; bad = 1
	}
	END { exit bad }'
