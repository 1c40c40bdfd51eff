// A server of the modern era alone: @modelcontextprotocol/server over HTTP, on the port given.
import { createServer } from 'node:http';

import { McpServer, acceptedContent, createMcpHandler, inputRequired, inputResponse } from '@modelcontextprotocol/server';
import * as z from 'zod/v4';

const text = value => ({ content: [{ type: 'text', text: value }] });
let cancelled = false;
let handler;

function make() {
    const server = new McpServer(
        { name: 'matrix-modern', version: '1' },
        { capabilities: { resources: { subscribe: true, listChanged: true }, tools: { listChanged: true } } }
    );
    const tool = (name, schema, run) =>
        server.registerTool(name, { description: name, inputSchema: z.object(schema) }, run);
    tool('echo', { message: z.string() }, async ({ message }) => text(`echo: ${message}`));
    tool('steps', { steps: z.number() }, async ({ steps }, ctx) => {
        const progressToken = ctx.mcpReq._meta?.progressToken;
        for (let n = 1; n <= steps && progressToken !== undefined; n++) {
            await ctx.mcpReq.notify({
                method: 'notifications/progress',
                params: { progressToken, progress: n, total: steps }
            });
            await new Promise(done => setTimeout(done, 30));
        }
        return text('done');
    });
    tool('hold', {}, async (_, ctx) => {
        await new Promise(done => {
            const timer = setTimeout(done, 20000);
            ctx.mcpReq.signal.addEventListener('abort', () => {
                cancelled = true;
                clearTimeout(timer);
                done();
            });
        });
        return text('held');
    });
    tool('was_cancelled', {}, async () => {
        const was = cancelled;
        cancelled = false;
        return text(String(was));
    });
    tool('ask', {}, async (_, ctx) => {
        const schema = z.object({ name: z.string() });
        const got = acceptedContent(ctx.mcpReq.inputResponses, 'who', schema);
        if (got === undefined) {
            const who = inputRequired.elicit({ message: 'Who?', requestedSchema: schema });
            return inputRequired({ inputRequests: { who } });
        }
        return text(`hello ${got.name}`);
    });
    tool('think', {}, async (_, ctx) => {
        const got = inputResponse(ctx.mcpReq.inputResponses, 'llm');
        if (got.kind === 'missing') {
            const messages = [{ role: 'user', content: { type: 'text', text: 'Think' } }];
            return inputRequired({
                inputRequests: { llm: inputRequired.createMessage({ messages, maxTokens: 10 }) }
            });
        }
        return text(JSON.stringify(got));
    });
    tool('touch', {}, async () => {
        handler.notify.resourceUpdated('matrix://thing');
        return text('touched');
    });
    server.registerResource('thing', 'matrix://thing', {}, async uri => ({
        contents: [{ uri: uri.href, text: 'a thing' }]
    }));
    return server;
}

handler = createMcpHandler(make, { legacy: 'reject' });

createServer(async (req, res) => {
    const chunks = [];
    for await (const chunk of req) {
        chunks.push(chunk);
    }
    const gone = new AbortController();
    res.on('close', () => gone.abort());
    const answer = await handler.fetch(
        new Request(`http://127.0.0.1${req.url}`, {
            method: req.method,
            headers: req.headers,
            body: chunks.length ? Buffer.concat(chunks) : undefined,
            signal: gone.signal
        })
    );
    res.writeHead(answer.status, Object.fromEntries(answer.headers));
    res.flushHeaders();
    try {
        for await (const chunk of answer.body ?? []) {
            res.write(chunk);
        }
    } catch {
        // the client went away
    }
    res.end();
}).listen(Number(process.argv[2]), '127.0.0.1');
