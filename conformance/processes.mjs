// Starts programs, waits until they say where they listen, and ends every one of them.

import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { createInterface } from 'node:readline';

const START_MS = 20_000;
const STOP_MS = 10_000;

const running = new Set();
let closed = false;

function launch(command, args, { log, stdout }) {
    if (closed) {
        throw new Error('interrupted');
    }
    const fd = openSync(log, 'w');
    const child = spawn(command, args, {
        stdio: ['ignore', stdout === 'pipe' ? 'pipe' : fd, fd]
    });
    closeSync(fd);
    running.add(child);
    child.ended = new Promise(resolve => {
        child.once('error', error => resolve({ error }));
        child.once('exit', (code, signal) => resolve({ code, signal }));
    }).then(end => {
        running.delete(child);
        return end;
    });
    return child;
}

function describe({ error, code, signal }) {
    return error ? error.message : signal ? `killed by ${signal}` : `exit status ${code}`;
}

function firstLine(child) {
    const lines = createInterface({ input: child.stdout });
    return new Promise(resolve => lines.once('line', resolve));
}

/** Starts a server whose first line on stdout is JSON with a `listen`; gives {child, at}. */
export async function startServer(name, command, args, options) {
    const child = launch(command, args, { ...options, stdout: 'pipe' });
    let timer;
    const late = new Promise(resolve => {
        timer = setTimeout(() => resolve({ why: 'did not say that it listens' }), START_MS);
    });
    const line = firstLine(child).then(text => ({ text }));
    const gone = child.ended.then(end => ({ why: `ended at once: ${describe(end)}` }));
    const first = await Promise.race([line, gone, late]);
    clearTimeout(timer);
    try {
        if (first.why !== undefined) {
            throw new Error(first.why);
        }
        return { child, at: [JSON.parse(first.text).listen].flat()[0] };
    } catch (error) {
        await stop(child);
        throw new Error(`${name}: ${error.message} (see ${options.log})`);
    }
}

/** Starts a program that says nothing; gives it. */
export function startDaemon(command, args, options) {
    return launch(command, args, options);
}

/** Runs a program to its end; gives its exit status. */
export async function finish(command, args, options) {
    const end = await launch(command, args, options).ended;
    if (end.code === null || end.code === undefined) {
        throw new Error(`${command}: ${describe(end)}`);
    }
    return end.code;
}

/** Ends a program; gives what was wrong with the way it ended, or undefined. */
export async function stop(child) {
    if (!running.has(child)) {
        return `ended early: ${describe(await child.ended)}`;
    }
    child.kill('SIGTERM');
    let killed = false;
    const timer = setTimeout(() => {
        killed = true;
        child.kill('SIGKILL');
    }, STOP_MS);
    const end = await child.ended;
    clearTimeout(timer);
    if (killed) {
        return `still ran ${STOP_MS / 1000} s after SIGTERM`;
    }
    return end.code === 0 || end.signal === 'SIGTERM' ? undefined : `ended badly: ${describe(end)}`;
}

/** Ends all that still runs; nothing starts after that. */
export async function stopAll() {
    closed = true;
    await Promise.all([...running].map(stop));
}
