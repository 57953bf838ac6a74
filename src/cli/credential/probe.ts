import { isIP } from 'node:net';
import { probe } from '../../probe/probe.ts';
import { givenRoots, systemRoots } from '../../probe/roots.ts';
import { STARTTLS_PROTOCOLS, type StartTlsProtocol } from '../../probe/starttls.ts';
import { parseTarget, tlsName } from '../../probe/target.ts';
import { type Command, UsageError } from '../command.ts';
import { readCaFile } from '../options/credential-input.ts';
import { parseDuration } from '../options/duration.ts';
import { OUTPUT_OPTION } from '../output.ts';
import { formatProbeJson, formatProbeText, isHealthy } from './probe-report.ts';

export const probeCommand: Command = {
  name: 'probe',
  summary: 'verify the delegated credential that a TLS server serves',
  usage: 'probe HOST:PORT',
  description:
    'Connects as a TLS 1.3 client that supports delegated credentials, verifies the chain, the name and the credential that the ' +
    'server serves, and shows what clients without support and clients of TLS 1.2 get. Exit status 1 when the connection or a ' +
    'check fails, or when --expect-dc is set and the server serves no credential. Sends no request and no certificate.',
  example: 'dcred probe web.example:443 --ca ca.crt --expect-dc',
  positionals: { min: 1, max: 1 },
  options: {
    sni: {
      type: 'string',
      value: 'NAME',
      expects: (value) =>
        tlsName(value) === undefined ? 'a DNS name or an IP address, such as web.example' : undefined,
      help: 'server name to send and to verify; HOST when absent',
    },
    ca: { type: 'string', value: 'FILE', help: "CA certificates to trust, PEM; the system's when absent" },
    alpn: {
      type: 'string',
      value: 'PROTOCOL',
      multiple: true,
      // RFC 7301 section 3.1: 1 to 255 bytes. Those that are registered are text.
      expects: (value) => (/^[\x21-\x7e]{1,255}$/.test(value) ? undefined : 'the name of a protocol, such as h2'),
      help: 'protocol to offer, such as h2; repeatable',
    },
    starttls: {
      type: 'string',
      value: 'PROTOCOL',
      choices: STARTTLS_PROTOCOLS,
      help: 'start in plain text and upgrade',
    },
    timeout: { type: 'string', value: 'DURATION', default: '10s', help: 'limit for all connections together' },
    'expect-dc': { type: 'boolean', help: 'fail unless the server serves a valid delegated credential' },
    output: OUTPUT_OPTION,
  },

  async run(args, io) {
    const [text = ''] = args.positionals;
    const target = parseTarget(text);
    if (target === undefined) {
      throw new UsageError(`expected HOST:PORT, such as web.example:443 or [2001:db8::1]:443; got "${text}"`);
    }
    const seconds = parseDuration(args.required('timeout'), '--timeout');
    if (seconds < 1 || seconds > 3600) throw new UsageError('--timeout takes 1s to 1h');
    const name = tlsName(args.string('sni') ?? target.host);
    if (name === undefined) throw new UsageError(`"${target.host}" is no DNS name: give the one to send with --sni`);
    const ca = args.string('ca');
    const report = await probe({
      target,
      name,
      serverName: isIP(name) === 0 ? name : undefined,
      alpn: args.strings('alpn'),
      starttls: args.string('starttls') as StartTlsProtocol | undefined,
      roots: ca === undefined ? systemRoots() : givenRoots(await readCaFile(ca, io.signal)),
      now: () => io.now(),
      stop: io.signal,
      deadline: AbortSignal.timeout(seconds * 1000),
    });
    const expectCredential = args.boolean('expect-dc');
    const now = Math.floor(io.now() / 1000);
    io.stdout.write(
      args.string('output') === 'json'
        ? formatProbeJson(target, report)
        : formatProbeText({ target, report, expectCredential, now }),
    );
    return isHealthy(report, expectCredential) ? 0 : 1;
  },
};
