// list-mounts.mjs URL MOUNT…: asks an MCP endpoint for its tools and prints how many each mount has.
// Plain fetch, so that what is shown is what came over the wire.
const [url, ...mounts] = process.argv.slice(2);
const version = "2025-06-18";
let session;

// Sends one message; returns the result that answers it, from a JSON body or an event stream.
async function send(message) {
  const headers = {
    "content-type": "application/json",
    accept: "application/json, text/event-stream",
    ...(session && { "mcp-session-id": session, "mcp-protocol-version": version }),
  };
  const body = JSON.stringify({ jsonrpc: "2.0", ...message });
  const res = await fetch(url, { method: "POST", headers, body, signal: AbortSignal.timeout(15_000) });
  session ??= res.headers.get("mcp-session-id") ?? undefined;
  if (!res.ok) throw new Error(`${message.method}: HTTP ${res.status} ${await res.text()}`);
  if (message.id === undefined) return undefined;
  const text = await res.text();
  const stream = res.headers.get("content-type")?.startsWith("text/event-stream");
  const answers = stream ? [...text.matchAll(/^data: ?(.+)$/gm)].map((m) => JSON.parse(m[1])) : [JSON.parse(text)];
  const answer = answers.find((a) => a.id === message.id);
  if (!answer?.result) throw new Error(`${message.method}: ${JSON.stringify(answer?.error ?? text)}`);
  return answer.result;
}

async function allTools() {
  const tools = [];
  let cursor;
  do {
    const page = await send({ id: 2, method: "tools/list", params: cursor ? { cursor } : {} });
    tools.push(...page.tools.map((t) => t.name));
    cursor = page.nextCursor;
  } while (cursor);
  return tools;
}

try {
  const clientInfo = { name: "list-mounts", version: "1" };
  await send({ id: 1, method: "initialize", params: { protocolVersion: version, capabilities: {}, clientInfo } });
  await send({ method: "notifications/initialized" });
  const tools = await allTools();
  for (const mount of mounts) {
    const own = tools.filter((t) => t.startsWith(`${mount}_`));
    const some = own.slice(0, 3).join(", ");
    console.log(`  ${mount.padEnd(12)} ${String(own.length).padStart(3)} tools   ${some}${own.length > 3 ? ", …" : ""}`);
  }
} catch (e) {
  console.error(String(e.cause ?? e));
  process.exit(1);
}
