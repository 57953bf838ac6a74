/** A server that keeps an idle connection for an hour, says so, and answers everything with an empty object. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface PatientServer extends AsyncDisposable {
  readonly url: string;
  /** Every connection since the start. */
  readonly connections: number;
}

export async function startPatientServer(): Promise<PatientServer> {
  let connections = 0;
  const server = createServer({ keepAliveTimeout: 3_600_000 }, (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
  });
  server.on('connection', () => {
    connections += 1;
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get connections() {
      return connections;
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
