/** RFC 3986 section 2.1, strictly: what one reader takes for an escape, another must not take for text. */

/** Text that is not a usable key URI. Never quotes a PIN. */
export class KeyUriError extends Error {
  override readonly name = 'KeyUriError';
  readonly code = 'KeyUriInvalid';
}

/** The bytes that a part of a URI stands for. Throws KeyUriError, which names the part. */
export function percentDecodeBytes(text: string, part: string): Uint8Array {
  const bytes: number[] = [];
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code < 0x21 || code > 0x7e) {
      throw new KeyUriError(`${part}: character ${at + 1} must be written as a percent escape`);
    }
    if (code !== 0x25) {
      bytes.push(code);
      continue;
    }
    const digits = text.slice(at + 1, at + 3);
    if (!/^[0-9A-Fa-f]{2}$/.test(digits)) {
      throw new KeyUriError(
        `${part}: the percent sign at character ${at + 1} is not followed by two hexadecimal digits`,
      );
    }
    bytes.push(Number.parseInt(digits, 16));
    at += 2;
  }
  return Uint8Array.from(bytes);
}

/** As `percentDecodeBytes`, for a part that is text: UTF-8 without NUL, which would end a path or a name early. */
export function percentDecode(text: string, part: string): string {
  const bytes = percentDecodeBytes(text, part);
  try {
    const decoded = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    if (!decoded.includes('\0')) return decoded;
  } catch {
    // Said below: the cause would quote nothing of use.
  }
  throw new KeyUriError(`${part}: expected UTF-8 text without NUL`);
}
