/**
 * Another client, which an attack must not keep waiting: sends one request on a new connection and reports how long the answer took.
 * Runs in its own thread, because the test that attacks is busy itself and would measure that.
 */
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { type HttpsTarget, send } from './https.ts';

interface Order {
  readonly target: HttpsTarget;
  readonly body: string;
}

export interface Answered {
  readonly status: number;
  readonly text: string;
  readonly milliseconds: number;
}

export class Bystander implements AsyncDisposable {
  readonly #worker = new Worker(new URL(import.meta.url));

  ask(order: Order): Promise<Answered> {
    return new Promise((resolve, reject) => {
      this.#worker.once('message', (answer: Answered | Error) =>
        answer instanceof Error ? reject(answer) : resolve(answer),
      );
      this.#worker.postMessage(order);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker.terminate();
  }
}

async function answer({ body, target }: Order): Promise<Answered> {
  const began = performance.now();
  const { status, text } = await send(target, { body });
  return { status, text, milliseconds: performance.now() - began };
}

if (!isMainThread) {
  const port = parentPort;
  port?.on('message', (order: Order) => {
    answer(order).then(
      (answered) => port.postMessage(answered),
      (error: unknown) => port.postMessage(error instanceof Error ? error : new Error(String(error))),
    );
  });
}
