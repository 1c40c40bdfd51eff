// Several replicas of the gateway that share a Redis, behind a balancer that hands every connection
// to the next of them.

import { randomBytes } from 'node:crypto';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';

import { startDaemon, startServer, stop } from './processes.mjs';

/** A TCP port that nobody has now. */
async function freePort() {
    const server = createServer();
    await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address();
    await new Promise(resolve => server.close(resolve));
    return port;
}

async function answers(port) {
    return new Promise(resolve => {
        const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'));
        socket.once('data', data => resolve(data.toString().startsWith('+PONG')));
        socket.once('error', () => resolve(false));
        socket.setTimeout(1000, () => resolve(false));
    }).finally(() => {});
}

async function startRedis(dir) {
    const port = await freePort();
    const args = ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
    const child = startDaemon('redis-server', args, { log: join(dir, 'redis.log') });
    for (let i = 0; i < 100; i++) {
        if (await answers(port)) {
            return { child, url: `redis://127.0.0.1:${port}/0` };
        }
        await new Promise(resolve => setTimeout(resolve, 50));
    }
    throw new Error(`redis-server does not answer (see ${join(dir, 'redis.log')})`);
}

function startBalancer(targets) {
    let turn = 0;
    const sockets = new Set();
    const balancer = createServer({ allowHalfOpen: true }, client => {
        const [host, port] = targets[turn++ % targets.length].split(':');
        const server = connect({ host, port: Number(port), allowHalfOpen: true });
        for (const [from, to] of [
            [client, server],
            [server, client]
        ]) {
            sockets.add(from);
            from.pipe(to);
            from.on('error', () => to.destroy());
            from.on('close', () => {
                sockets.delete(from);
                to.destroy();
            });
        }
    });
    return new Promise(resolve =>
        balancer.listen(0, '127.0.0.1', () =>
            resolve({
                at: `127.0.0.1:${balancer.address().port}`,
                close: () => {
                    balancer.close();
                    sockets.forEach(socket => socket.destroy());
                }
            })
        )
    );
}

/** Starts `count` gateways; gives {at, end}: end stops them all and gives what was wrong. */
export async function startFleet(count, dir, gateway, writeConfig) {
    const redis = await startRedis(dir);
    const replicas = [];
    const key = randomBytes(32).toString('base64');
    try {
        for (let i = 0; i < count; i++) {
            const config = writeConfig(`replica${i}.yaml`, {
                sealKeys: `["${key}"]`,
                store: redis.url,
                replicaLink: '{ listen: "127.0.0.1:0" }'
            });
            const log = join(dir, `replica${i}.log`);
            const args = ['run', '--config', config];
            replicas.push(await startServer(`replica ${i}`, gateway, args, { log }));
        }
    } catch (error) {
        await Promise.all([redis, ...replicas].map(({ child }) => stop(child)));
        throw error;
    }
    const balancer = await startBalancer(replicas.map(({ at }) => at));
    return {
        at: balancer.at,
        end: async () => {
            balancer.close();
            const ends = await Promise.all(replicas.map(({ child }) => stop(child)));
            await stop(redis.child);
            const broken = ends.findIndex(end => end !== undefined);
            return broken < 0 ? undefined : `replica ${broken}: ${ends[broken]}`;
        }
    };
}
