// @modelcontextprotocol/client: both eras, the modern one where the server has it.
import { Client, SSEClientTransport, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';

import { answers, plan, run } from './features.mjs';

const { url, transport, command, args } = plan.target;
const transports = {
    stdio: () => new StdioClientTransport({ command, args, stderr: 'ignore' }),
    sse: () => new SSEClientTransport(new URL(url)),
    http: () => new StreamableHTTPClientTransport(new URL(url))
};

await run(async () => {
    const capabilities = { elicitation: {}, sampling: {}, roots: {} };
    const mode = plan.mode === 'auto' ? 'auto' : { pin: plan.mode };
    const client = new Client(
        { name: 'matrix-ts2', version: '1' },
        { capabilities, versionNegotiation: { mode } }
    );
    const changes = [];
    for (const [method, answer] of Object.entries(answers)) {
        client.setRequestHandler(method, async r => answer(r.params));
    }
    for (const method of ['notifications/tools/list_changed', 'notifications/resources/updated']) {
        client.setNotificationHandler(method, () => void changes.push(method));
    }
    await client.connect(transports[transport]());
    return {
        changes,
        call: (name, args, options) => client.callTool({ name, arguments: args }, options),
        listTools: async () => (await client.listTools()).tools,
        subscribe: async f => {
            if (client.getProtocolEra() === 'modern') {
                await client.listen(
                    f.uri ? { resourceSubscriptions: [f.uri] } : { toolsListChanged: true }
                );
            } else if (f.uri) {
                await client.subscribeResource({ uri: f.uri });
            }
        }
    };
});
