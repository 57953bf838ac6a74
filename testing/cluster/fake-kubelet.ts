/**
 * A fake: a Node whose kubelet forwards ports to servers on this machine, and does nothing else. A control plane without a node has no
 * kubelet, and a real one would have to run the pods. The API server in between is real, and so is its check of permissions.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import type { Duplex } from 'node:stream';
import type { ApiClient } from '../../src/kubernetes/client/api-client.ts';
import type { ResourceType } from '../../src/kubernetes/resource-type.ts';
import { leaf } from '../support/openssl.ts';

export interface FakeKubelet extends AsyncDisposable {
  /** For `spec.nodeName` of pods. */
  readonly nodeName: string;
  /** How many ports were forwarded. */
  readonly forwarded: () => number;
}

const NODES: ResourceType = { group: '', version: 'v1', plural: 'nodes', kind: 'Node', namespaced: false };
const PROTOCOL = 'v4.channel.k8s.io';
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

export async function startFakeKubelet(client: ApiClient, signal: AbortSignal): Promise<FakeKubelet> {
  const { certificatePem: cert, keyPem: key } = leaf();
  const server = createServer({ cert, key });
  const sockets = new Set<Duplex>();
  let forwarded = 0;
  server.on('upgrade', (request: IncomingMessage, socket: Duplex) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    forwarded += 1;
    forward(request, socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const nodeName = `fake-${port}`;
  await client.create(NODES, { metadata: { name: nodeName } }, { signal });
  const status = {
    addresses: [{ type: 'InternalIP', address: '127.0.0.1' }],
    daemonEndpoints: { kubeletEndpoint: { Port: port } },
  };
  await client.mergePatch(NODES, { name: nodeName }, { status }, { signal, subresource: 'status' });
  return {
    nodeName,
    forwarded: () => forwarded,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** As cri-streaming's `portforward/websocket.go` does: two channels a port, and the port as the first message of each. */
function forward(request: IncomingMessage, socket: Duplex): void {
  const accept = createHash('sha1').update(`${request.headers['sec-websocket-key']}${GUID}`).digest('base64');
  const port = Number(new URL(request.url ?? '/', 'https://kubelet').searchParams.get('port'));
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n` +
      `Sec-WebSocket-Protocol: ${PROTOCOL}\r\n\r\n`,
  );
  const portBytes = Uint8Array.of(port & 0xff, port >>> 8);
  const send = (channel: number, data: Uint8Array) =>
    socket.write(frame(2, Buffer.concat([Uint8Array.of(channel), data])));
  send(0, portBytes);
  send(1, portBytes);
  const upstream = connect(port, '127.0.0.1');
  upstream.on('data', (chunk: Buffer) => {
    // The size of the real one's reads.
    for (let start = 0; start < chunk.length; start += 32_768) send(0, chunk.subarray(start, start + 32_768));
  });
  upstream.on('error', (error) => send(1, Buffer.from(`error forwarding port ${port}: ${error.message}`)));
  upstream.on('close', () => {
    socket.write(frame(8, new Uint8Array(0)));
    socket.end();
  });
  let pending = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk]);
    for (let taken = takeFrame(pending); taken !== undefined; taken = takeFrame(pending)) {
      pending = pending.subarray(taken.size);
      if (taken.opcode === 8) upstream.end();
      else if (taken.payload[0] === 0) upstream.write(taken.payload.subarray(1));
    }
  });
  socket.on('close', () => upstream.destroy());
}

function frame(opcode: number, payload: Uint8Array): Uint8Array {
  const header = payload.length < 126 ? Buffer.of(0x80 | opcode, payload.length) : Buffer.of(0x80 | opcode, 126, 0, 0);
  if (payload.length >= 126) header.writeUInt16BE(payload.length, 2);
  return Buffer.concat([header, payload]);
}

function takeFrame(
  bytes: Buffer,
): { readonly opcode: number; readonly payload: Buffer; readonly size: number } | undefined {
  if (bytes.length < 6) return undefined;
  const short = bytes.readUInt8(1) & 0x7f;
  const start = short < 126 ? 2 : 4;
  const length = start === 2 ? short : bytes.readUInt16BE(2);
  const size = start + 4 + length;
  if (bytes.length < size) return undefined;
  const mask = bytes.subarray(start, start + 4);
  const payload = Buffer.from(bytes.subarray(start + 4, size).map((byte, index) => byte ^ (mask[index & 3] ?? 0)));
  return { opcode: bytes.readUInt8(0) & 0x0f, payload, size };
}
