/** A TLS server on OpenSSL (Node's own), to try the probe's client against. */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer, type TlsOptions } from 'node:tls';

export interface TlsServer extends AsyncDisposable {
  readonly port: number;
}

export async function startTlsServer(options: TlsOptions): Promise<TlsServer> {
  const server = createServer(options, (socket) => {
    socket.on('error', () => {});
    socket.resume();
  });
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, 'close');
    },
  };
}
