/** Where a pod serves the credential of one resource: by its annotation, else by its container ports. Pure. */
import { portAnnotation } from '../api/keys.ts';
import { STARTTLS_PROTOCOLS, type StartTlsProtocol } from '../probe/starttls.ts';
import { printable } from '../text/printable.ts';

export interface ContainerPort {
  readonly name: string | undefined;
  readonly port: number;
}

export type Endpoint =
  | { readonly known: true; readonly port: number; readonly starttls: StartTlsProtocol | undefined }
  /** Why it is not known, and what to do. */
  | { readonly known: false; readonly message: string };

/** Ports that speak TLS from the first byte, those of web servers first. */
const TLS_PORTS: readonly number[] = [
  443, 8443, 4443, 9443, 6443, 465, 563, 636, 853, 989, 990, 993, 995, 5061, 5671, 8883,
];
const TLS_NAME = /(^|-)(https|tls|ssl|h2|imaps|pop3s|smtps|ldaps|mqtts|amqps)(-|$)/;

/** `annotation`: the value of `port.dcred.dev/<resource>`. `ports`: the TCP ports of the pod's containers. */
export function endpointOf(
  resourceName: string,
  annotation: string | undefined,
  ports: readonly ContainerPort[],
): Endpoint {
  if (annotation !== undefined) return readAnnotation(resourceName, annotation, ports);
  const [only, ...others] = ports;
  if (only !== undefined && others.length === 0) return at(only.port);
  const named = ports.filter(({ name }) => name !== undefined && TLS_NAME.test(name));
  const [first, ...more] = named;
  if (first !== undefined && more.length === 0) return at(first.port);
  const candidates = named.length > 0 ? named : ports;
  const usual = TLS_PORTS.find((port) => candidates.some((one) => one.port === port));
  if (usual !== undefined) return at(usual);
  const found =
    ports.length === 0 ? 'no container port' : `${ports.length} container ports, none of which is known for TLS`;
  return unknown(`the pod has ${found}: name the port in its annotation ${portAnnotation(resourceName)}`);
}

function at(port: number): Endpoint {
  return { known: true, port, starttls: undefined };
}

function unknown(message: string): Endpoint {
  return { known: false, message };
}

/** `8443`, `https`, `587/smtp`. */
function readAnnotation(resourceName: string, text: string, ports: readonly ContainerPort[]): Endpoint {
  const [, portText = '', protocol] = /^([a-z0-9-]{1,15})(?:\/([a-z]{1,8}))?$/.exec(text) ?? [];
  const starttls = STARTTLS_PROTOCOLS.find((one) => one === protocol);
  const port = /^\d+$/.test(portText) ? Number(portText) : ports.find(({ name }) => name === portText)?.port;
  const isPort = port !== undefined && port >= 1 && port <= 65_535;
  if (isPort && protocol === starttls) return { known: true, port, starttls };
  return unknown(
    `annotation ${portAnnotation(resourceName)} is "${printable(text, 60)}": expected a port number or the name of a container ` +
      `port, and ${STARTTLS_PROTOCOLS.map((one) => `/${one}`).join(' or ')} behind it where TLS begins by STARTTLS, such as 8443 or 587/smtp`,
  );
}
