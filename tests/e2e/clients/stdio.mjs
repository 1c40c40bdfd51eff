// A client of the handshake era on stdin and stdout of a server that it starts: plan.command, plan.args and
// plan.env. See steps.mjs.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { CreateMessageRequestSchema, ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';

import { answers, plan, run } from './steps.mjs';

const capabilities = { elicitation: {}, sampling: {} };
const client = new Client({ name: 'stdio-sdk', version: '1' }, { capabilities });
for (const schema of [ElicitRequestSchema, CreateMessageRequestSchema]) {
    client.setRequestHandler(schema, request => answers[request.method](request.params));
}
const { command, args, env } = plan;
const transport = new StdioClientTransport({ command, args, env, stderr: 'ignore' });
await run(client, transport, (c, params, options) => c.callTool(params, undefined, options));
