// A client that gets its tokens as an application does: what the SDK asks for, it authorizes by
// following the redirect that a browser would. plan.sdk: "sdk" (@modelcontextprotocol/sdk) or
// "client" (@modelcontextprotocol/client, in plan.mode). Calls plan.calls, in turn; prints what came of
// each and the scopes that it was granted on the way.
const plan = JSON.parse(process.argv[2]);
const redirectUrl = 'http://127.0.0.1:1/callback';

class Provider {
    granted = [];
    redirectUrl = redirectUrl;
    clientMetadata = {
        client_name: 'e2e-oauth',
        redirect_uris: [redirectUrl],
        grant_types: ['authorization_code'],
        response_types: ['code'],
        token_endpoint_auth_method: 'none'
    };
    state() {
        return 'a-state';
    }
    clientInformation() {
        return this.information;
    }
    saveClientInformation(information) {
        this.information = information;
    }
    tokens() {
        return this.saved;
    }
    saveTokens(tokens) {
        this.saved = tokens;
        this.granted.push(tokens.scope);
    }
    saveCodeVerifier(verifier) {
        this.verifier = verifier;
    }
    codeVerifier() {
        return this.verifier;
    }
    async redirectToAuthorization(url) {
        const answer = await fetch(url, { redirect: 'manual' });
        this.callback = new URL(answer.headers.get('location')).searchParams;
        if (this.callback.get('state') !== 'a-state') {
            throw new Error(`authorization failed: ${this.callback}`);
        }
    }
}

async function load() {
    if (plan.sdk === 'sdk') {
        const { Client } = await import('@modelcontextprotocol/sdk/client/index.js');
        const http = await import('@modelcontextprotocol/sdk/client/streamableHttp.js');
        return {
            transportClass: http.StreamableHTTPClientTransport,
            client: () => new Client({ name: 'e2e-oauth', version: '1' }),
            finish: (transport, callback) => transport.finishAuth(callback.get('code'))
        };
    }
    const client = await import('@modelcontextprotocol/client');
    const mode = plan.mode === 'legacy' ? plan.mode : { pin: plan.mode };
    return {
        transportClass: client.StreamableHTTPClientTransport,
        client: () =>
            new client.Client(
                { name: 'e2e-oauth', version: '1' },
                { versionNegotiation: { mode } }
            ),
        finish: (transport, callback) => transport.finishAuth(callback)
    };
}

const sdk = await load();
const authProvider = new Provider();
let transport;
let authorizations = 0;

// Does it; when that takes an authorization first, gets it and does it again, once.
async function authorized(step) {
    try {
        return await step();
    } catch (e) {
        if (!authProvider.callback) {
            throw e;
        }
        const callback = authProvider.callback;
        authProvider.callback = undefined;
        authorizations += 1;
        await sdk.finish(transport, callback);
        return await step();
    }
}

let client;
await authorized(async () => {
    client = sdk.client();
    transport = new sdk.transportClass(new URL(plan.url), { authProvider });
    await client.connect(transport);
});
const results = [];
for (const [name, args] of plan.calls) {
    const result = await authorized(() => client.callTool({ name, arguments: args }));
    results.push({ text: result.content[0].text, authorizations });
}
await client.close();
console.log(JSON.stringify({ results, granted: authProvider.granted }));
process.exit(0);
