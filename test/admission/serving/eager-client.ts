/**
 * A client that sends its next request the moment it has read the answer to the last, on one connection, as Go's do. In a thread of
 * its own: in the server's, it would not run before the server has been notified that its answer was sent.
 */
import { once } from 'node:events';
import { connect } from 'node:tls';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { rawHead } from '../https.ts';

interface Order {
  readonly port: number;
  readonly ca: string;
  readonly body: string;
  readonly requests: number;
}

/** How many of the requests were answered before the connection was closed. */
export async function askInARow(order: Order): Promise<number> {
  const worker = new Worker(new URL(import.meta.url), { workerData: order });
  const [answered] = await once(worker, 'message');
  await worker.terminate();
  return answered as number;
}

function ask({ body, ca, port, requests }: Order, done: (answered: number) => void): void {
  const request = rawHead(Buffer.byteLength(body)) + body;
  const socket = connect({ host: '127.0.0.1', port, ca, servername: 'localhost' }, () => socket.write(request));
  let [answered, text] = [0, ''];
  socket.setNoDelay(true);
  socket.on('error', () => {});
  socket.on('close', () => done(answered));
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
    const [head = '', rest] = text.split('\r\n\r\n', 2);
    if (rest === undefined || rest.length < Number(/content-length: (\d+)/i.exec(head)?.[1])) return;
    text = '';
    answered += 1;
    if (answered === requests) socket.end();
    else socket.write(request);
  });
}

if (!isMainThread) ask(workerData as Order, (answered) => parentPort?.postMessage(answered));
