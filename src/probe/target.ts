/** `HOST:PORT` as a command line takes it: a name, an IPv4 address, or an IPv6 address in brackets. */
import { isIP } from 'node:net';
import { domainToASCII } from 'node:url';

export interface Target {
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
}

const DEFAULT_PORT = 443;
const MAX_HOST_LENGTH = 253;

/** Undefined for what is no target. The port defaults to 443. */
export function parseTarget(text: string): Target | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s/]+))(?::(\d{1,5}))?$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = match?.[3] === undefined ? DEFAULT_PORT : Number(match[3]);
  if (host === undefined || host.length > MAX_HOST_LENGTH || port < 1 || port > 65_535) return undefined;
  if (match?.[1] !== undefined && isIP(host) !== 6) return undefined;
  return { host, port };
}

/** OpenSSL takes a name that begins with a dot for any name below it. */
const HOST_NAME = /^[a-z0-9_-][a-z0-9_.-]{0,252}$/i;
const NOT_ASCII = /[^\0-\x7f]/;

/**
 * A host as TLS names it (RFC 6066 section 3): an IP address, or a DNS name in ASCII (`xn--` where it is in another script, as in
 * certificates) without the dot at its end. Undefined for what is neither.
 */
export function tlsName(host: string): string | undefined {
  if (isIP(host) !== 0) return host;
  const name = (NOT_ASCII.test(host) ? domainToASCII(host) : host).replace(/\.$/, '');
  return HOST_NAME.test(name) ? name : undefined;
}

export function formatTarget({ host, port }: Target): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}
