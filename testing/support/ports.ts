import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { connect, createServer, type NetConnectOpts } from 'node:net';

/**
 * Below Linux's range for outgoing connections (32768-60999), so that no client socket of the machine can take a port
 * between the moment it is found free and the moment a server binds it, or while that server is being restarted.
 */
const FIRST = 20_000;
const LAST = 32_000;
const ATTEMPTS = 100;

/**
 * A TCP port that is free at `host`, and that no other process of the tests gets as long as this one lives: test files run side by side,
 * and a process has to start between the check of a port and the bind of its server.
 */
export async function freePort(host = '127.0.0.1'): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const port = randomInt(FIRST, LAST);
    if ((await reserve(port)) && (await isFree(port, host))) return port;
  }
  throw new Error(`no free TCP port at ${host} between ${FIRST} and ${LAST} in ${ATTEMPTS} attempts`);
}

/** Binds the UDP port of that number, which nothing here uses, and which the kernel frees however this process ends. */
function reserve(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    socket.once('error', () => {
      socket.close();
      resolve(false);
    });
    socket.bind({ port, address: '127.0.0.1', exclusive: true }, () => {
      socket.unref();
      resolve(true);
    });
  });
}

function isFree(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** Whether a process listens there: at a port, or at the path of a socket. */
export function canConnect(target: NetConnectOpts): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(target);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
