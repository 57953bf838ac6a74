import { createHash } from 'node:crypto';
import { createServer as createHttp, type RequestListener, type Server } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { createAuthority } from '../../../testing/controlplane/certificates.ts';
import type { Release, Releases } from '../../../testing/controlplane/releases.ts';

/** The name by which only a proxy finds the stand-in. */
export const PROXIED_HOST = 'releases.invalid';

export interface StandIn extends AsyncDisposable {
  readonly url: string;
  readonly ca: string;
  readonly port: number;
  /** The paths that were requested. */
  readonly requests: readonly string[];
}

/** Stands for the hosts of the releases: a fake, over real TLS. */
export async function startStandIn(listener: RequestListener): Promise<StandIn> {
  const authority = await createAuthority(new Date());
  const { certificate, key } = await authority.issueServer(['127.0.0.1', PROXIED_HOST]);
  const requests: string[] = [];
  const server = createHttps({ cert: certificate, key }, (request, response) => {
    requests.push(request.url ?? '');
    listener(request, response);
  });
  const stop = await listen(server);
  const { port } = server.address() as AddressInfo;
  return { url: `https://127.0.0.1:${port}`, ca: authority.certificate, port, requests, [Symbol.asyncDispose]: stop };
}

/** An HTTP proxy that knows one host. */
export async function startProxy(target: number): Promise<StandIn> {
  const requests: string[] = [];
  const server = createHttp();
  server.on('connect', (request, socket: Socket) => {
    requests.push(request.url ?? '');
    const upstream = connect(target, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      upstream.pipe(socket).pipe(upstream);
    });
    upstream.on('error', () => socket.destroy());
    socket.on('error', () => upstream.destroy());
  });
  const stop = await listen(server);
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, ca: '', port, requests, [Symbol.asyncDispose]: stop };
}

async function listen(server: Server): Promise<() => Promise<void>> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  };
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export interface TarEntry {
  readonly name: string;
  readonly content?: string;
  /** Default: 0, a regular file. 2 is a symbolic link. */
  readonly type?: string;
  /** Default: the content's. */
  readonly size?: number;
}

/** An archive of entries as they are given, whatever their names. */
export function tarGz(entries: readonly TarEntry[]): Buffer {
  const blocks = entries.flatMap(({ content = '', name, size, type = '0' }) => {
    const header = Buffer.alloc(512);
    header.write(name, 0, 100);
    header.write('0000755\0', 100);
    header.write(`${(size ?? Buffer.byteLength(content)).toString(8).padStart(11, '0')}\0`, 124);
    header.write('        ', 148);
    header.write(type, 156);
    if (type === '2') header.write('/etc/passwd', 157);
    header.write('ustar\u000000', 257);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    const body = Buffer.alloc(Math.ceil(Buffer.byteLength(content) / 512) * 512);
    body.write(content);
    return [header, body];
  });
  return gzipSync(Buffer.concat([...blocks, Buffer.alloc(1024)]));
}

/** Pins for this machine: kubectl as a plain file at /kubectl, etcd in an archive at /etcd.tar.gz. */
export function pins(url: string, contents: { readonly kubectl?: Uint8Array; readonly etcd?: Uint8Array }): Releases {
  const arch = process.arch === 'x64' ? 'amd64' : process.arch;
  const platform = `${process.platform}/${arch}`;
  const releases: Record<string, Release> = {};
  if (contents.kubectl !== undefined) {
    const files = { kubectl: sha256(contents.kubectl) };
    releases['kubernetes'] = { version: 'v1.2.3', url: `${url}/{name}`, checksums: '', sha256: { [platform]: files } };
  }
  if (contents.etcd !== undefined) {
    const names = ['etcd', 'etcdctl'];
    const archive = { version: 'v3', url: `${url}/etcd.tar.gz`, checksums: '', member: 'etcd-{version}/{name}', names };
    releases['etcd'] = { ...archive, sha256: { [platform]: sha256(contents.etcd) } };
  }
  return releases;
}
