// What the JavaScript clients share: each feature that the plan names is tried on a connected client,
// and one line of JSON says how each went: {"call": {"ok": true}, "sample": {"error": "…"}}.
export const plan = JSON.parse(process.argv[2]);

export const answers = {
    'elicitation/create': () => ({ action: 'accept', content: plan.features.elicit?.content ?? {} }),
    'sampling/createMessage': () => ({
        role: 'assistant',
        content: { type: 'text', text: 'sampled by the client' },
        model: 'matrix'
    }),
    'roots/list': () => ({ roots: [] })
};

const said = result => JSON.stringify(result.content ?? null);

function within(ms, work, what) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`${what}: nothing within ${ms} ms`)), ms);
    });
    return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

function expect(result, wanted) {
    if (result.isError || !said(result).includes(wanted)) {
        throw new Error(`expected ${wanted}, got ${said(result).slice(0, 300)}`);
    }
}

// c: {call(name, args, options), listTools(), subscribe(wanted), changes: what came in}
const features = {
    async list(c, f) {
        const names = (await c.listTools()).map(t => t.name);
        if (!names.includes(f.tool)) {
            throw new Error(`no ${f.tool} in ${names}`);
        }
    },
    async call(c, f) {
        expect(await c.call(f.tool, f.args), f.expect);
    },
    async progress(c, f) {
        let seen = 0;
        await c.call(f.tool, f.args, { onprogress: () => seen++ });
        if (seen < f.min) {
            throw new Error(`${seen} progress notifications, not ${f.min}`);
        }
    },
    async cancel(c, f) {
        const abort = new AbortController();
        const call = c.call(f.tool, f.args, { signal: abort.signal });
        setTimeout(() => abort.abort('matrix'), f.after ?? 300);
        const ended = await call.then(() => 'answered', () => 'cancelled');
        if (ended !== 'cancelled') {
            throw new Error('the call was answered although it was cancelled');
        }
        await new Promise(done => setTimeout(done, 300)); // what tells the server is on its way
        if (f.proof) {
            for (let n = 0; n < 50; n++) {
                if (said(await c.call(f.proof.tool, {})).includes(f.proof.expect)) {
                    return;
                }
                await new Promise(done => setTimeout(done, 50));
            }
            throw new Error('the server did not hear of it');
        }
    },
    async elicit(c, f) {
        expect(await c.call(f.tool, f.args), f.expect);
    },
    async sample(c, f) {
        expect(await c.call(f.tool, f.args), 'sampled by the client');
    },
    async subscribe(c, f) {
        await c.subscribe(f);
        for (let n = 0; !c.changes.includes(f.method); n++) {
            if (n % 50 === 0) {
                await c.call(f.trigger.tool, f.trigger.args ?? {});
            }
            await new Promise(done => setTimeout(done, 20));
        }
    }
};

export async function run(connect) {
    const outcome = {};
    try {
        const c = await within(20000, connect(), 'connect');
        for (const [name, f] of Object.entries(plan.features)) {
            try {
                await within(f.ms ?? 15000, features[name](c, f), name);
                outcome[name] = { ok: true };
            } catch (e) {
                outcome[name] = { error: String(e?.message ?? e).slice(0, 400) };
            }
        }
    } catch (e) {
        outcome.connect = { error: String(e?.message ?? e).slice(0, 400) };
    }
    console.log(JSON.stringify(outcome));
    process.exit(0);
}
