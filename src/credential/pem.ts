/** One PEM block: `-----BEGIN label-----`, base64, `-----END label-----` (RFC 7468). */
export interface PemBlock {
  readonly label: string;
  readonly der: Uint8Array;
  /** The block as it stood in the text, without what is around it. */
  readonly text: string;
}

/** A block that begins and does not end, or holds something other than base64. Never quotes the text: it may be a key. */
export class PemError extends Error {
  override readonly name = 'PemError';
  readonly code = 'PEM_MALFORMED';
}

const BEGIN = /-----BEGIN ([A-Z0-9][A-Z0-9 ]*)-----/g;

/**
 * All blocks of a text, in order. Text around them is skipped, as OpenSSL does (`openssl x509 -text` writes some); `\r\n` and
 * indented lines are fine. Throws PemError.
 */
export function readPem(text: string): readonly PemBlock[] {
  const blocks: PemBlock[] = [];
  let from = 0;
  for (;;) {
    BEGIN.lastIndex = from;
    const begin = BEGIN.exec(text);
    if (begin === null) return blocks;
    const label = begin[1] ?? '';
    const footer = `-----END ${label}-----`;
    const bodyStart = begin.index + begin[0].length;
    const bodyEnd = text.indexOf(footer, bodyStart);
    if (bodyEnd === -1) throw new PemError(`the PEM block ${label} (block ${blocks.length + 1}) has no end line`);
    blocks.push({
      label,
      der: decodeBase64(text.slice(bodyStart, bodyEnd), label, blocks.length + 1),
      text: text.slice(begin.index, bodyEnd + footer.length),
    });
    from = bodyEnd + footer.length;
  }
}

/** One block, lines of 64 characters, ending in a newline. */
export function writePem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

function decodeBase64(body: string, label: string, position: number): Uint8Array {
  // Headers such as "Proc-Type: 4,ENCRYPTED" belong to encrypted keys; their bodies are no use to anyone here.
  const base64 = body.replace(/^[A-Za-z-]+:.*$/gm, '').replace(/\s+/g, '');
  if (base64.length === 0 || base64.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) {
    throw new PemError(`the PEM block ${label} (block ${position}) does not hold base64`);
  }
  return Uint8Array.from(Buffer.from(base64, 'base64'));
}
