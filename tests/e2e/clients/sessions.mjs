// Many sessions of @modelcontextprotocol/sdk that call again and again until the time is over; what
// became of the calls is printed as one line of JSON. A session that breaks is begun anew.
//
//   node sessions.mjs '{"url": "http://…/mcp", "seconds": 30, "sessions": 20, "tool": "up_echo"}'
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { McpError } from '@modelcontextprotocol/sdk/types.js';

const plan = JSON.parse(process.argv[2]);
const until = Date.now() + plan.seconds * 1000;
const counts = {};
const count = what => (counts[what] = (counts[what] ?? 0) + 1);
const sleep = ms => new Promise(done => setTimeout(done, ms));

// A JSON-RPC error by its reason; else whatever the transport says.
function outcome(e) {
    if (e instanceof McpError) {
        return `error ${e.data?.reason ?? e.code}`;
    }
    const cut = e?.message === 'fetch failed' || e?.message === 'terminated';
    return cut ? `in flight, ${e.cause?.code ?? e.message}` : `broken ${e?.message ?? e}`;
}

async function session() {
    const client = new Client({ name: 'e2e-sdk-sessions', version: '1' }, { capabilities: {} });
    client.onerror = () => {}; // a broken GET stream, which the SDK takes up again
    try {
        await client.connect(new StreamableHTTPClientTransport(new URL(plan.url)));
        count('sessions');
        while (Date.now() < until) {
            try {
                const call = { name: plan.tool, arguments: { n: 1 } };
                const result = await client.callTool(call, undefined, { timeout: 20000 });
                count(result.isError ? 'failed' : 'answered');
            } catch (e) {
                count(outcome(e));
            }
            await sleep(50);
        }
    } catch (e) {
        count(outcome(e));
    }
    await client.close();
}

async function keep() {
    while (Date.now() < until) {
        await session();
    }
}

await Promise.all(Array.from({ length: plan.sessions }, keep));
console.log(JSON.stringify(counts));
process.exit(0);
