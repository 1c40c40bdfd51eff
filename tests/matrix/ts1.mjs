// @modelcontextprotocol/sdk: the handshake era.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
    CreateMessageRequestSchema,
    ElicitRequestSchema,
    ListRootsRequestSchema
} from '@modelcontextprotocol/sdk/types.js';

import { answers, plan, run } from './features.mjs';

const { url, transport, command, args } = plan.target;
const transports = {
    stdio: () => new StdioClientTransport({ command, args, stderr: 'ignore' }),
    sse: () => new SSEClientTransport(new URL(url)),
    http: () => new StreamableHTTPClientTransport(new URL(url))
};

await run(async () => {
    const capabilities = { elicitation: {}, sampling: {}, roots: {} };
    const client = new Client({ name: 'matrix-ts1', version: '1' }, { capabilities });
    const changes = [];
    for (const schema of [ElicitRequestSchema, CreateMessageRequestSchema, ListRootsRequestSchema]) {
        client.setRequestHandler(schema, r => answers[r.method](r.params));
    }
    client.fallbackNotificationHandler = async n => void changes.push(n.method);
    await client.connect(transports[transport]());
    return {
        changes,
        call: (name, args, options) => client.callTool({ name, arguments: args }, undefined, options),
        listTools: async () => (await client.listTools()).tools,
        subscribe: async f => (f.uri ? await client.subscribeResource({ uri: f.uri }) : undefined)
    };
});
