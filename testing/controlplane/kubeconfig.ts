import type { KeyPair } from './certificates.ts';

export type Credential = { readonly token: string } | { readonly tokenFile: string } | KeyPair;
/** The PEM text of one or more certificates, or the path of a file with them, which a client may read again. */
export type Trust = { readonly certificates: string } | { readonly file: string };

/** A kubeconfig with one cluster, one user and one context. JSON is YAML too. */
export function kubeconfig(options: {
  readonly server: string;
  readonly trust: Trust;
  readonly credential: Credential;
  readonly namespace?: string;
}): string {
  const { server, trust, credential, namespace = 'default' } = options;
  const authority =
    'file' in trust
      ? { 'certificate-authority': trust.file }
      : { 'certificate-authority-data': base64(trust.certificates) };
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster: { server, ...authority } }],
    users: [{ name: 'test', user: userOf(credential) }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test', namespace } }],
    'current-context': 'test',
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}

function userOf(credential: Credential): Readonly<Record<string, string>> {
  if ('token' in credential || 'tokenFile' in credential) return credential;
  return {
    'client-certificate-data': base64(credential.certificate),
    'client-key-data': base64(credential.key),
  };
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}
