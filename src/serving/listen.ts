/** Binding a server to its address, as every server of dcred does. */
import type { AddressInfo, Server } from 'node:net';

export interface ListenAddress {
  /** Undefined: every address of the machine. */
  readonly host: string | undefined;
  /** 0: a free one. */
  readonly port: number;
}

/** Rejects with Node's error when the address cannot be bound. */
export function listen(server: Server, { host, port }: ListenAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, ...(host === undefined ? {} : { host }) }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** The port in use, of a server that listens. */
export function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}
