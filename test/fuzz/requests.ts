/** PKCS#10 requests, damaged and then signed, so that the checks after the signature are reached too. */
import { createPrivateKey, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readElement, readElements, TAG } from '../../src/credential/der.ts';
import { readPem, writePem } from '../../src/credential/pem.ts';
import { certificateRequest, requestKeyFromPem } from '../../src/provision/certificate-request.ts';
import { boolean, element, explicit, objectIdentifier, sequence, utf8String } from '../../src/provision/der-write.ts';
import { extension, signed } from '../../src/provision/x509-parts.ts';
import { HOSTILE_STRINGS, mutateBytes, mutateText } from './mutate.ts';
import type { Random } from './random.ts';

const keyPem = readFileSync(new URL('../vectors/leaf.key', import.meta.url), 'utf8');
const privateKey = createPrivateKey(keyPem);
const requests = await Promise.all(
  [['web.example'], ['web.example', '*.web.example', 'api.example']].map(async (dnsNames) => {
    const signal = new AbortController().signal;
    const pem = await certificateRequest({ key: requestKeyFromPem(keyPem), dnsNames, usage: 'Server', signal });
    return readPem(pem)[0]?.der ?? new Uint8Array();
  }),
);
const parts = (der: Uint8Array) => readElements(readElement(der, TAG.sequence).content);
const bodies = requests.map((der) => parts(der)[0]?.encoded ?? new Uint8Array());
const [algorithm = new Uint8Array()] = requests.map((der) => parts(der)[1]?.encoded);
const [publicKey = new Uint8Array()] = bodies.map((body) => parts(body)[2]?.encoded);

const NAMES = ['web.example', '*.web.example', 'xn--bcher-kva.example', 'a.b'];
const NAME_PIECES = [...HOSTILE_STRINGS, '.', '-', '*.', 'a', 'A', 'é', '.'.repeat(70), `${'a.'.repeat(130)}a`];
const DNS_NAME = 0x82;
const SET = 0x31;

export function damagedRequest(random: Random): string {
  const kind = random.below(4);
  if (kind === 0) return writePem('CERTIFICATE REQUEST', mutateBytes(random, requests));
  const body = kind === 1 ? mutateBytes(random, bodies) : composedBody(random);
  return writePem('CERTIFICATE REQUEST', signed(body, algorithm, sign('sha256', body, privateKey)));
}

/** Well-formed where nothing is hostile, so that each check is reached by itself. */
function composedBody(random: Random): Uint8Array {
  const name = () => (random.chance(3) ? mutateText(random, NAMES, NAME_PIECES) : random.pick(NAMES));
  const names = Array.from({ length: random.chance(50) ? 101 : random.below(4) }, name);
  const tag = () => (random.chance(10) ? random.below(256) : DNS_NAME);
  const encoded = names.map((one) => element(tag(), Buffer.from(one, random.chance(4) ? 'utf8' : 'latin1')));
  const extensions = [
    ...(random.chance(12) ? [] : [extension('2.5.29.17', random.chance(2), sequence(...encoded))]),
    ...(random.chance(4) ? [extension('2.5.29.19', true, sequence(boolean(random.chance(3))))] : []),
    ...(random.chance(4) ? [extension('1.2.3.4', random.chance(2), mutateBytes(random, bodies))] : []),
  ];
  if (random.chance(10)) extensions.push(random.pick([...extensions, sequence()]));
  const commonName = random.chance(2) ? [sequence(objectIdentifier('2.5.4.3'), utf8String(names[0] ?? name()))] : [];
  const attribute = sequence(objectIdentifier('1.2.840.113549.1.9.14'), element(SET, sequence(...extensions)));
  const attributes = random.chance(20) ? [attribute, attribute] : [attribute];
  return sequence(
    element(TAG.integer, Uint8Array.of(random.chance(30) ? random.below(3) : 0)),
    sequence(...commonName.map((pair) => element(SET, pair))),
    publicKey,
    explicit(0, Buffer.concat(attributes)),
  );
}
