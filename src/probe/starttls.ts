/** From a plain SMTP or IMAP session to the point where TLS begins (RFC 3207, RFC 9051 section 6.2.1). Pure. */

import { printable } from '../text/printable.ts';

export const STARTTLS_PROTOCOLS = ['smtp', 'imap'] as const;
export type StartTlsProtocol = (typeof STARTTLS_PROTOCOLS)[number];

export type StartTlsStep =
  | { readonly kind: 'wait' }
  | { readonly kind: 'send'; readonly text: string }
  /** TLS may begin. */
  | { readonly kind: 'ready' }
  | { readonly kind: 'refused'; readonly message: string };

/** A server's greeting and answers fit easily. */
const MAX_BYTES = 16 * 1024;

/** The dialogue of one connection: each whole answer of the server gives the next step. */
export class StartTls {
  readonly #protocol: StartTlsProtocol;
  #text = '';
  #received = 0;
  #stage: 'greeting' | 'hello' | 'starttls' = 'greeting';

  constructor(protocol: StartTlsProtocol) {
    this.#protocol = protocol;
  }

  receive(bytes: Uint8Array): StartTlsStep {
    this.#received += bytes.length;
    if (this.#received > MAX_BYTES) return refused(`the server's ${this.#protocol} greeting exceeds 16 KiB`);
    this.#text += Buffer.from(bytes).toString('latin1');
    const answer = this.#protocol === 'smtp' ? this.#smtpAnswer() : this.#imapAnswer();
    if (answer === undefined) return { kind: 'wait' };
    this.#text = this.#text.slice(answer.end);
    if (!answer.ok)
      return refused(`the server answers ${this.#stage.toUpperCase()} with: ${printable(answer.line, 200)}`);
    // Bytes after the answer came in the clear; to read them as TLS would let an attacker inject them.
    if (this.#stage === 'starttls' && this.#text.length > 0)
      return refused('the server sent text after its answer to STARTTLS');
    return this.#advance();
  }

  #advance(): StartTlsStep {
    if (this.#stage === 'greeting' && this.#protocol === 'smtp') {
      this.#stage = 'hello';
      return { kind: 'send', text: 'EHLO dcred-probe.invalid\r\n' };
    }
    if (this.#stage === 'starttls') return { kind: 'ready' };
    this.#stage = 'starttls';
    return { kind: 'send', text: this.#protocol === 'smtp' ? 'STARTTLS\r\n' : 'a1 STARTTLS\r\n' };
  }

  /** The last line of an answer has a space behind its code; those before it a hyphen. */
  #smtpAnswer(): { readonly ok: boolean; readonly line: string; readonly end: number } | undefined {
    let start = 0;
    for (let end = this.#text.indexOf('\r\n'); end !== -1; end = this.#text.indexOf('\r\n', start)) {
      const line = this.#text.slice(start, end);
      start = end + 2;
      if (line[3] !== '-') return { ok: line.startsWith('2'), line, end: start };
    }
    return undefined;
  }

  /** The greeting is untagged; the answer to a command has its tag. */
  #imapAnswer(): { readonly ok: boolean; readonly line: string; readonly end: number } | undefined {
    let start = 0;
    for (let end = this.#text.indexOf('\r\n'); end !== -1; end = this.#text.indexOf('\r\n', start)) {
      const line = this.#text.slice(start, end);
      start = end + 2;
      if (this.#stage === 'greeting') return { ok: /^\* (OK|PREAUTH)\b/i.test(line), line, end: start };
      if (line.startsWith('a1 ')) return { ok: /^a1 OK\b/i.test(line), line, end: start };
    }
    return undefined;
  }
}

function refused(message: string): StartTlsStep {
  return { kind: 'refused', message };
}
