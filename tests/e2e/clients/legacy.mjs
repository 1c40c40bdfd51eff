// A client of the handshake era: @modelcontextprotocol/sdk. See steps.mjs.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
    CreateMessageRequestSchema,
    ElicitRequestSchema,
    ListRootsRequestSchema
} from '@modelcontextprotocol/sdk/types.js';

import { answers, plan, run } from './steps.mjs';

const capabilities = plan.capabilities ?? { elicitation: {}, sampling: {}, roots: {} };
const client = new Client({ name: 'e2e-sdk-legacy', version: '1' }, { capabilities });
const schemas = {
    elicitation: ElicitRequestSchema,
    sampling: CreateMessageRequestSchema,
    roots: ListRootsRequestSchema
};
for (const [capability, schema] of Object.entries(schemas)) {
    if (capability in capabilities) {
        client.setRequestHandler(schema, request => answers[request.method](request.params));
    }
}
const transport = new StreamableHTTPClientTransport(new URL(plan.url));
await run(client, transport, (c, params, options) => c.callTool(params, undefined, options));
