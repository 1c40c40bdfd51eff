// What the drivers share: the steps of a test, given as JSON in the first argument, run one after
// another on a connected client; their outcomes are printed as one line of JSON.
//
//   {"url": "http://…/mcp", "mode": "…", "steps": [["tools"], ["call", "echo", {"a": 1}]]}

export const plan = JSON.parse(process.argv[2]);

// What this client says when the server asks.
export const answers = {
    'elicitation/create': () => ({ action: 'accept', content: plan.elicit ?? {} }),
    'sampling/createMessage': () => ({
        role: 'assistant',
        content: { type: 'text', text: 'sampled' },
        model: 'e2e'
    }),
    'roots/list': () => ({ roots: [{ uri: 'file:///srv/e2e', name: 'e2e' }] })
};

async function pages(list, key) {
    const all = [];
    let cursor;
    do {
        const page = await list(cursor === undefined ? undefined : { cursor });
        all.push(...page[key]);
        cursor = page.nextCursor;
    } while (cursor !== undefined);
    return all;
}

async function step(client, [what, name, args]) {
    switch (what) {
        case 'tools':
            return (await pages(p => client.listTools(p), 'tools')).map(t => t.name);
        case 'prompts':
            return (await pages(p => client.listPrompts(p), 'prompts')).map(t => t.name);
        case 'resources':
            return (await pages(p => client.listResources(p), 'resources')).map(r => r.uri);
        case 'templates': {
            const list = p => client.listResourceTemplates(p);
            return (await pages(list, 'resourceTemplates')).map(r => r.uriTemplate);
        }
        case 'call': {
            const progress = [];
            const onprogress = p => progress.push(p.progress);
            const call = { name, arguments: args ?? {} };
            const result = await plan.call(client, call, { onprogress });
            return { ...result, progress };
        }
        case 'read':
            return await client.readResource({ uri: name });
        case 'prompt':
            return await client.getPrompt({ name, arguments: args ?? {} });
        case 'complete':
            return (await client.complete(name)).completion.values;
        case 'ping':
            return await client.ping();
        case 'level':
            return await client.setLoggingLevel(name);
        case 'server':
            return client.getServerVersion()?.name;
        default:
            throw new Error(`no step ${what}`);
    }
}

// Runs the plan and ends the process.
export async function run(client, transport, call) {
    plan.call = call;
    const results = [];
    let failed = 0;
    try {
        await client.connect(transport);
        for (const one of plan.steps) {
            try {
                results.push({ ok: (await step(client, one)) ?? null });
            } catch (e) {
                results.push({ error: String(e?.message ?? e), code: e?.code ?? null });
            }
        }
        await client.close();
    } catch (e) {
        failed = 1;
        console.error(e);
    }
    console.log(JSON.stringify(results));
    process.exit(failed);
}
