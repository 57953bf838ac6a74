import type { KeyPair } from './certificates.ts';

export type Credential = { readonly token: string } | KeyPair;

/** A kubeconfig with one cluster, one user and one context. JSON is YAML too. */
export function kubeconfig(options: {
  readonly server: string;
  readonly certificateAuthority: string;
  readonly credential: Credential;
  readonly namespace?: string;
}): string {
  const { server, certificateAuthority, credential, namespace = 'default' } = options;
  const user =
    'token' in credential
      ? { token: credential.token }
      : {
          'client-certificate-data': base64(credential.certificate),
          'client-key-data': base64(credential.key),
        };
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster: { server, 'certificate-authority-data': base64(certificateAuthority) } }],
    users: [{ name: 'test', user }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test', namespace } }],
    'current-context': 'test',
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}
