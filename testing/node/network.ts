import { randomBytes, randomInt } from 'node:crypto';
import { CommandFailedError, run } from '../support/processes.ts';
import type { Namespaces } from './namespaces.ts';

/**
 * RFC 2544's range for benchmarks, 198.18.0.0/15, which no real network uses, in 64 blocks of 2,048 addresses: one for a node,
 * its pods and its Services.
 *
 *     machine  B.0.1 ---- veth pair ---- B.0.2  node ---- bridge ---- pods  B.1.0/24
 *        `--- route: B.0.0/21 via B.0.2                       `--- nftables: Services  B.2.0/24
 */
const BLOCKS = 64;
const BLOCK_BITS = 21;

export interface Network {
  /** The machine's end: where the API server listens. */
  readonly hostAddress: string;
  readonly nodeAddress: string;
  /** Ranges, such as `198.18.9.0/24`. */
  readonly pods: string;
  readonly services: string;
}

class NetworkError extends Error {
  readonly code = 'NodeNetwork';
  override readonly name = 'NetworkError';
}

/** Connects the node's network to the machine's. All of it, including the route, goes when the node's namespaces go. */
export async function createNetwork(namespaces: Namespaces): Promise<Network> {
  const link = `dcred-${randomBytes(4).toString('hex')}`;
  await ip('link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(namespaces.pid));
  await ip('link', 'set', link, 'up');
  const network = await claimBlock(link);
  await ip('address', 'add', `${network.hostAddress}/32`, 'dev', link);
  for (const words of [
    'link set lo up',
    `address add ${network.nodeAddress}/32 dev eth0`,
    'link set eth0 up',
    `route add ${network.hostAddress} dev eth0`,
    `route add default via ${network.hostAddress} dev eth0`,
  ]) {
    await namespaces.run(['ip', ...words.split(' ')]);
  }
  return network;
}

/** The kernel accepts a route once, so adding it reserves the block. */
async function claimBlock(link: string): Promise<Network> {
  const first = randomInt(BLOCKS);
  for (let attempt = 0; attempt < BLOCKS; attempt += 1) {
    const network = block((first + attempt) % BLOCKS);
    const range = `${network.pods.replace(/\.(\d+)\.0\/24$/, (_, third) => `.${Number(third) - 1}.0`)}/${BLOCK_BITS}`;
    try {
      await ip('route', 'add', range, 'via', network.nodeAddress, 'dev', link, 'onlink');
      return network;
    } catch (error) {
      if (!(error instanceof CommandFailedError && error.message.includes('File exists'))) throw error;
    }
  }
  throw new NetworkError(`all ${BLOCKS} blocks of 198.18.0.0/15 are in use: are there nodes left behind? (ip route)`);
}

/** Exported for its test. */
export function block(index: number): Network {
  const base = index * 2 ** (32 - BLOCK_BITS);
  const address = (offset: number) => {
    const value = base + offset;
    return `198.${18 + (value >> 16)}.${(value >> 8) & 255}.${value & 255}`;
  };
  return {
    hostAddress: address(1),
    nodeAddress: address(2),
    pods: `${address(256)}/24`,
    services: `${address(512)}/24`,
  };
}

function ip(...words: readonly string[]): Promise<unknown> {
  return run('ip', words);
}
