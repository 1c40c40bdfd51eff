// A client of the per-request era: @modelcontextprotocol/client. plan.mode: "auto", "legacy" or a
// revision to pin. See steps.mjs.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

import { answers, plan, run } from './steps.mjs';

const capabilities = plan.capabilities ?? { elicitation: {}, sampling: {}, roots: {} };
const named = ['auto', 'legacy'].includes(plan.mode);
const mode = named ? plan.mode : { pin: plan.mode };
const client = new Client(
    { name: 'e2e-client-modern', version: '1' },
    { capabilities, versionNegotiation: { mode } }
);
const asks = {
    elicitation: 'elicitation/create',
    sampling: 'sampling/createMessage',
    roots: 'roots/list'
};
for (const [capability, method] of Object.entries(asks)) {
    if (capability in capabilities) {
        client.setRequestHandler(method, async request => answers[method](request.params));
    }
}
const transport = new StreamableHTTPClientTransport(new URL(plan.url));
await run(client, transport, (c, params, options) => c.callTool(params, options));
