/** OpenSSL's errors in words: its own text has a thread's id, a function, a source file and a newline. Pure. */
import { printable } from './printable.ts';
import { alertName } from './tls-alert.ts';

/**
 * `80A1:error:0A00042E:SSL routines:ssl3_read_bytes:tlsv1 alert protocol version:../rec_layer_s3.c:916:SSL alert number 70` as TLS
 * has it, one line for each error, and `error:1E08010C:DECODER routines::unsupported` as cryptography has it. ERR_error_string(3).
 */
const OPENSSL =
  /(?:[0-9A-F]{1,32}:)?error:([0-9A-F]{8}):[^:\n]{0,200}:[^:\n]{0,200}:([^:\n]{0,500})(?::[^:\n]{0,500}:\d{1,10}(?::[^\n]*)?)?\n?/gi;

/** ERR_GET_LIB and ERR_GET_REASON of OpenSSL 3. */
const LIBRARY_SHIFT = 23;
const REASON_MASK = 0x7f_ffff;
const SSL_LIBRARY = 20;
/** SSL_AD_REASON_OFFSET: the reason of an alert that came in is its number and this. */
const ALERT_OFFSET = 1000;
const MAX_ALERT = 255;
const MAX_REASON_LENGTH = 200;

/** What OpenSSL finds wrong with the first bytes of a server that answers in another protocol. */
const NOT_TLS = new Set(['wrong version number', 'packet length too long', 'http request', 'record layer failure']);

/** `text` with each error of OpenSSL in it as a short phrase; any other text as it is. */
export function explainOpenSsl(text: string): string {
  return text.replace(OPENSSL, (raw, hex: string, reason: string, offset: number) => {
    const follows = raw.endsWith('\n') && offset + raw.length < text.length;
    return `${phrase(Number.parseInt(hex, 16), reason.trim())}${follows ? '; ' : ''}`;
  });
}

function phrase(code: number, reason: string): string {
  const number = code & REASON_MASK;
  const alert = number - ALERT_OFFSET;
  if (code >>> LIBRARY_SHIFT === SSL_LIBRARY && alert >= 0 && alert <= MAX_ALERT) {
    return `the server refuses the TLS handshake: ${alertName(alert)}`;
  }
  if (NOT_TLS.has(reason)) return `expected TLS, found another protocol (${reason})`;
  return `OpenSSL: ${reason === '' ? `error ${number}` : printable(reason, MAX_REASON_LENGTH)}`;
}
