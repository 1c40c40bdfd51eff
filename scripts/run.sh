#!/bin/sh
# What `./dev run` starts: Headgate (HEADGATE_BIN) in front of three real MCP servers, two on stdio
# and one over HTTP, and the Python tools of examples/local. Ctrl-C, or the end of Headgate, ends all of it.
# HEADGATE_LISTEN chooses the address (default: 127.0.0.1:8000, or a free port when that is taken).
set -eu
cd "$(dirname "$0")/.."
root=$(pwd)
state=build/run
servers=$root/examples/servers/node_modules/@modelcontextprotocol
everything=$servers/server-everything/dist/index.js
filesystem=$servers/server-filesystem/dist/index.js
mkdir -p "$state"
rm -f "$state"/ready.json "$state"/*.log

gate='' remote=''
finish()
{
	trap '' INT TERM
	# shellcheck disable=SC2086 # process ids, or nothing
	[ -z "$gate$remote" ] || kill $gate $remote 2>/dev/null || true
	wait
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Prints the port wanted if it is free, else one that is.
free_port() { node scripts/net.mjs free-port "$1"; }

die() { printf '%s\n' "$@" >&2; exit 1; }

http_port=$(free_port 0)
PORT=$http_port node "$everything" streamableHttp >"$state/remote.log" 2>&1 &
remote=$!
listen=${HEADGATE_LISTEN-127.0.0.1:$(free_port 8000)}

cat >"$state/headgate.yaml" <<END
listen: $listen
upstreams:
  everything: { command: node, args: ["$everything", stdio] }
  files: { command: node, args: ["$filesystem", "$root/examples"] }
  remote: { url: "http://127.0.0.1:$http_port/mcp" }
local: { inline: "$root/examples/local", namespace: python, hotReload: true }
END

node scripts/net.mjs wait-port "$http_port" || die "the HTTP server did not start:" "$(cat "$state/remote.log")"
"$HEADGATE_BIN" run --config "$state/headgate.yaml" >"$state/ready.json" 2>"$state/headgate.log" &
gate=$!
# Headgate prints one line, when it listens.
until grep -q listen "$state/ready.json"; do
	kill -0 "$gate" 2>/dev/null || die "headgate did not start:" "$(cat "$state/headgate.log")"
	sleep 0.05
done

url=http://$listen/mcp
cat <<END

Headgate serves MCP at   $url

$(node scripts/list-mounts.mjs "$url" everything files remote python || echo "  (no list; see $state/headgate.log)")

Connect a client, for example:
  claude mcp add --transport http headgate $url
  npx @modelcontextprotocol/inspector --cli $url --transport http --method tools/list
  {"mcpServers": {"headgate": {"type": "http", "url": "$url"}}}

Configuration: $state/headgate.yaml   log: $state/headgate.log   Ctrl-C ends it.
END
wait "$gate" || die "headgate ended:" "$(tail -n 20 "$state/headgate.log")"
