// Runs the conformance suite through Headgate, cell by cell. README.md has the options.

import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { startFleet } from './fleet.mjs';
import { GOLDEN } from './golden.mjs';
import { finish, startServer, stop, stopAll } from './processes.mjs';
import { judge, readExpected, readResults } from './results.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = dirname(HERE);
const OUT = join(ROOT, 'build', 'conformance');
const SUITE = join(HERE, 'node_modules/@modelcontextprotocol/conformance/dist/index.js');
const GATEWAY = process.env.HEADGATE_BIN ?? join(ROOT, 'build', 'release', 'headgate');
const DETAILS_LIMIT = 1200;
const SETS = { legacy: '2025-11-25', modern: '2026-07-28' };

// A cell is named after the era of the client and that of the server; `mount` has options of the
// upstream that are not the default.
const CELLS = [
    { name: 'legacy-legacy', client: 'legacy', server: 'legacy', required: true },
    { name: 'modern-modern', client: 'modern', server: 'modern', required: true },
    { name: 'modern-legacy', client: 'modern', server: 'legacy', required: true },
    {
        name: 'modern-legacy-superset',
        client: 'modern',
        server: 'legacy',
        mount: { clientCaps: 'superset' },
        required: true
    },
    { name: 'legacy-modern', client: 'legacy', server: 'modern', required: true }
];

const USAGE = `usage: run [--direct | --replicas N] [--cell NAME] [--scenario NAME]
cells: ${CELLS.map(cell => cell.name).join(', ')}`;

function readOptions() {
    const options = {
        direct: { type: 'boolean', default: false },
        replicas: { type: 'string', default: '1' },
        cell: { type: 'string' },
        scenario: { type: 'string' },
        help: { type: 'boolean', short: 'h', default: false }
    };
    const { values } = parseArgs({ options });
    if (values.cell !== undefined && !CELLS.some(cell => cell.name === values.cell)) {
        throw new Error(`no such cell: ${values.cell}`);
    }
    const replicas = Number(values.replicas);
    if (!Number.isInteger(replicas) || replicas < 1 || replicas > 9) {
        throw new Error(`--replicas: not ${values.replicas}`);
    }
    return { ...values, replicas };
}

/** How the suite reaches the fixtures: the name of where results are kept. */
const way = ({ direct, replicas }) =>
    direct ? 'direct' : replicas > 1 ? `replicas-${replicas}` : 'gateway';

function hasScenario(cell, scenario) {
    const { scored, extra } = GOLDEN[SETS[cell.client]];
    return scenario in scored || scenario in extra;
}

function selectCells({ cell: wanted, direct, scenario }) {
    return CELLS.filter(cell => {
        if (scenario !== undefined && !hasScenario(cell, scenario)) {
            return false;
        }
        // Without a gateway eras do not cross: that is a baseline for who asks for it.
        return wanted !== undefined ? cell.name === wanted : cell.client === cell.server || !direct;
    });
}

function configWriter(dir, upstream, mount = {}) {
    const lines = (indent, options) =>
        Object.entries(options).map(([name, value]) => `${indent}${name}: ${value}\n`);
    return (name, options = {}) => {
        const config = join(dir, name);
        const fx = { url: upstream, namespace: '""', ...mount };
        const text = ['listen: 127.0.0.1:0\n', ...lines('', options), 'upstreams:\n  fx:\n'];
        writeFileSync(config, [...text, ...lines('    ', fx)].join(''));
        return config;
    };
}

/** Gives {at, end}: end stops the gateway and gives what was wrong with it. */
async function startGateway(dir, upstream, { mount }, replicas) {
    const writeConfig = configWriter(dir, upstream, mount);
    if (replicas > 1) {
        return startFleet(replicas, dir, GATEWAY, writeConfig);
    }
    const log = join(dir, 'gateway.log');
    const args = ['run', '--config', writeConfig('headgate.yaml')];
    const { child, at } = await startServer('gateway', GATEWAY, args, { log });
    return { at, end: () => stop(child) };
}

async function runSuite(dir, url, set, scenario) {
    const which = scenario
        ? ['--scenario', scenario, '--spec-version', set]
        : ['--requirements', set];
    const args = [SUITE, 'server', '--url', url, ...which, '-o', join(dir, 'results')];
    return finish(process.execPath, args, { log: join(dir, 'suite.log') });
}

// Starts what the cell needs, runs the suite and ends all of it, however the suite went.
async function exercise(cell, dir, { direct, scenario, replicas }) {
    const fixture = join(HERE, 'fixtures', `${cell.server}.mjs`);
    const log = join(dir, 'fixture.log');
    const server = await startServer('fixture', process.execPath, [fixture, '0'], { log });
    let gateway;
    let broken;
    let status;
    try {
        let url = `http://${server.at}/mcp`;
        if (!direct) {
            gateway = await startGateway(dir, url, cell, replicas);
            url = `http://${gateway.at}/mcp`;
        }
        status = await runSuite(dir, url, SETS[cell.client], scenario);
    } finally {
        broken = gateway && (await gateway.end());
        await stop(server.child);
    }
    return { status, broken: broken && `gateway: ${broken} (see the logs in ${dir})` };
}

async function runCell(cell, options, expected) {
    const set = SETS[cell.client];
    const dir = join(OUT, way(options), cell.name);
    rmSync(dir, { recursive: true, force: true });
    mkdirSync(join(dir, 'results'), { recursive: true });
    const troubles = [];
    let status;
    try {
        const run = await exercise(cell, dir, options);
        status = run.status;
        troubles.push(...(run.broken ? [run.broken] : []));
    } catch (error) {
        troubles.push(error.message);
    }
    const verdict = judge(set, readResults(join(dir, 'results')), expected, options.scenario);
    const quiet = verdict.failures.length + verdict.expected.length === 0;
    if (status > 0 && quiet && verdict.row.scored + verdict.row.extra > 0) {
        troubles.push(`the suite ended with ${status} (see ${join(dir, 'suite.log')})`);
    }
    troubles.push(...verdict.stale.map(key => `expected to fail, but does not: ${key}`));
    return { cell, set, dir, ...verdict, troubles };
}

const isFull = ({ failures, troubles }) => failures.length + troubles.length === 0;

function report({ cell, dir, failures, warnings, troubles }) {
    const say = line => console.log(`${cell.name}: ${line}`);
    troubles.forEach(say);
    // When the gateway does not even start, every scenario fails alike.
    if (failures.length > 0 && failures.every(({ check }) => check === 'not-run')) {
        say('no scenario left a result');
        return;
    }
    for (const { scenario, check, name, why, details } of failures) {
        say(`FAIL ${scenario}: ${check}${name ? ` (${name})` : ''}\n    ${why}`);
        if (cell.required && details !== undefined) {
            console.log(`    ${JSON.stringify(details).slice(0, DETAILS_LIMIT)}`);
        }
    }
    for (const { scenario, check, why } of warnings) {
        say(`warning ${scenario}: ${check}\n    ${why}`);
    }
    if (failures.length > 0) {
        say(`logs and results in ${relative(process.cwd(), dir) || '.'}`);
    }
}

function printTable(runs) {
    const head = ['cell', 'set', 'scored', 'beyond', 'checks', 'failed', ''];
    const lines = runs.map(run => [
        run.cell.name,
        run.set,
        `${run.row.passed}/${run.row.scored}`,
        `${run.row.extraPassed}/${run.row.extra}`,
        `${run.row.checks}`,
        `${run.row.failed}`,
        [
            run.cell.required ? (isFull(run) ? 'ok' : 'FAILED') : 'informative',
            ...(run.expected.length > 0 ? [`failed as expected: ${run.expected.length}`] : [])
        ].join(', ')
    ]);
    const widths = head.map((_, i) => Math.max(...[head, ...lines].map(line => line[i].length)));
    for (const line of [head, ...lines]) {
        console.log(line.map((field, i) => field.padEnd(widths[i])).join('  ').trimEnd());
    }
}

function writeSummary(runs, options) {
    const rows = runs.map(({ cell, set, row }) => ({
        cell: cell.name,
        set,
        ...row,
        replicas: options.direct ? 0 : options.replicas,
        informative: !cell.required
    }));
    const name = { gateway: 'summary' }[way(options)] ?? `summary-${way(options)}`;
    const file = join(OUT, `${name}.json`);
    writeFileSync(file, `${JSON.stringify(rows, null, 2)}\n`);
}

async function main() {
    const options = readOptions();
    if (options.help) {
        console.log(USAGE);
        return 0;
    }
    if (!options.direct && !existsSync(GATEWAY)) {
        throw new Error(`there is no gateway at ${GATEWAY}; build it or set HEADGATE_BIN`);
    }
    const expected = readExpected(join(HERE, 'expected-failures.yml'));
    const cells = selectCells(options);
    if (cells.length === 0) {
        throw new Error(`no such scenario here: ${options.scenario}`);
    }
    const runs = [];
    for (const cell of cells) {
        const known = options.direct ? undefined : expected.get(cell.name);
        const run = await runCell(cell, options, known);
        report(run);
        runs.push(run);
    }
    printTable(runs);
    if (options.scenario === undefined) {
        writeSummary(runs, options);
    }
    return runs.every(run => isFull(run) || !run.cell.required) ? 0 : 1;
}

let ending = false;
for (const [signal, status] of Object.entries({ SIGHUP: 129, SIGINT: 130, SIGTERM: 143 })) {
    process.on(signal, async () => {
        if (!ending) {
            ending = true;
            await stopAll();
            process.exit(status);
        }
    });
}

try {
    process.exitCode = await main();
} catch (error) {
    console.error(error.message);
    process.exitCode = 2;
    await stopAll();
}
