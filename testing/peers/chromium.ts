/** Headless Chromium from Debian, driven over the DevTools protocol on a pipe: no port, no library. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { ensurePackages } from '../support/debian.ts';

const BINARY = '/usr/bin/chromium';

/** Why there is none, or undefined. */
export async function findChromium(): Promise<string | undefined> {
  return await ensurePackages({ needs: [BINARY], packages: ['chromium'] });
}

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly sessionId?: string;
  readonly params?: unknown;
  readonly result?: unknown;
  readonly error?: { readonly message: string };
}

export interface PageOptions {
  readonly width: number;
  readonly height: number;
  readonly scheme: 'light' | 'dark';
}

export class Chromium implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown[]>;
  readonly #profile: string;
  readonly #input: Writable;
  readonly #waiting = new Map<
    number,
    { readonly resolve: (result: unknown) => void; readonly reject: (error: Error) => void }
  >();
  readonly #pages = new Map<string, Page>();
  /** Why no call is answered any more. */
  #ended: Error | undefined;
  #id = 0;

  private constructor(child: ChildProcess, profile: string) {
    this.#child = child;
    this.#exited = once(child, 'exit');
    this.#profile = profile;
    this.#input = child.stdio[3] as Writable;
    this.#input.on('error', () => {});
    void this.#listen(child.stdio[4] as Readable);
  }

  static async start(): Promise<Chromium> {
    const profile = await mkdtemp(join(tmpdir(), 'dcred-chromium-'));
    // Chromium as root has no sandbox; the only page is our own. A container has no GPU and little shared memory.
    const flags = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run'];
    const words = [
      ...flags,
      '--disable-background-networking',
      `--user-data-dir=${profile}`,
      '--remote-debugging-pipe',
    ];
    const child = spawn(BINARY, words, { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
    const chromium = new Chromium(child, profile);
    await chromium.call('Browser.getVersion');
    return chromium;
  }

  /** An isolated page: no other shares its storage or its cache. */
  async open(url: string, options: PageOptions): Promise<Page> {
    const { browserContextId } = await this.call<{ browserContextId: string }>('Target.createBrowserContext');
    const target = await this.call<{ targetId: string }>('Target.createTarget', {
      url: 'about:blank',
      browserContextId,
    });
    const attach = { targetId: target.targetId, flatten: true };
    const { sessionId } = await this.call<{ sessionId: string }>('Target.attachToTarget', attach);
    const page = new Page((method, params) => this.call(method, params, sessionId));
    this.#pages.set(sessionId, page);
    await page.load(url, options);
    return page;
  }

  call<T>(method: string, params: object = {}, sessionId?: string): Promise<T> {
    this.#id += 1;
    const id = this.#id;
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (result: unknown) => void, reject });
      this.#input.write(
        `${JSON.stringify({ id, method, params, ...(sessionId === undefined ? {} : { sessionId }) })}\0`,
      );
    });
  }

  /** Until Chromium ends, or sends what cannot be read, which ends it. */
  async #listen(output: Readable): Promise<void> {
    let pending = '';
    let cause: unknown;
    try {
      for await (const text of output.setEncoding('utf8')) {
        const parts = (pending + text).split('\0');
        pending = parts.pop() ?? '';
        for (const part of parts) this.#receive(JSON.parse(part) as Message);
      }
    } catch (error) {
      cause = error;
      this.#child.kill();
    }
    await this.#exited;
    const { exitCode, signalCode } = this.#child;
    const how = signalCode === null ? `with status ${exitCode}` : `by ${signalCode}`;
    this.#ended = new Error(`Chromium ended ${how}`, { cause });
    for (const { reject } of this.#waiting.values()) reject(this.#ended);
    this.#waiting.clear();
  }

  #receive(message: Message): void {
    const { error, id, method, params, result, sessionId = '' } = message;
    if (id === undefined) {
      this.#pages.get(sessionId)?.notice(method ?? '', params);
      return;
    }
    const call = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) call?.resolve(result);
    else call?.reject(new Error(error.message));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.call('Browser.close').catch(() => {});
    await this.#exited;
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
}

type Call = <T>(method: string, params?: object) => Promise<T>;

export class Page {
  readonly #call: Call;
  readonly #loaded = Promise.withResolvers<void>();
  /** What the console said, exceptions and violations of the page's policy included. */
  readonly complaints: string[] = [];
  /** What the page requested, including itself. */
  readonly requests: string[] = [];
  /** Calls of alert(), confirm() and prompt(). */
  dialogs = 0;

  constructor(call: Call) {
    this.#call = call;
  }

  async load(url: string, { height, scheme, width }: PageOptions): Promise<void> {
    for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await this.#call(`${domain}.enable`);
    const metrics = { width, height, deviceScaleFactor: 1, mobile: width < 500 };
    await this.#call('Emulation.setDeviceMetricsOverride', metrics);
    const features = [{ name: 'prefers-color-scheme', value: scheme }];
    await this.#call('Emulation.setEmulatedMedia', { features });
    await this.#call('Page.navigate', { url });
    await this.#loaded.promise;
  }

  /** The value of an expression, by way of JSON. */
  async evaluate<T>(expression: string): Promise<T> {
    const options = { expression, returnByValue: true, awaitPromise: true };
    const { exceptionDetails, result } = await this.#call<{
      readonly result: { readonly value: T };
      readonly exceptionDetails?: { readonly text: string; readonly exception?: { readonly description?: string } };
    }>('Runtime.evaluate', options);
    if (exceptionDetails === undefined) return result.value;
    throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
  }

  /** PNG. */
  async screenshot(): Promise<Buffer> {
    const { data } = await this.#call<{ readonly data: string }>('Page.captureScreenshot', { format: 'png' });
    return Buffer.from(data, 'base64');
  }

  notice(method: string, params: unknown): void {
    switch (method) {
      case 'Page.loadEventFired':
        this.#loaded.resolve();
        break;
      case 'Page.javascriptDialogOpening':
        this.dialogs += 1;
        void this.#call('Page.handleJavaScriptDialog', { accept: false });
        break;
      case 'Network.requestWillBeSent':
        this.requests.push((params as { readonly request: { readonly url: string } }).request.url);
        break;
      case 'Runtime.consoleAPICalled':
      case 'Runtime.exceptionThrown':
      case 'Log.entryAdded':
        this.complaints.push(JSON.stringify(params).slice(0, 500));
        break;
    }
  }
}
