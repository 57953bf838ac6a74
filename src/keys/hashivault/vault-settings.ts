/** How Vault or OpenBao is reached, by the environment variables that their own tools and sigstore read. Pure. */
import { printable } from '../../text/printable.ts';
import { KeyError } from '../key-error.ts';

export type VaultLogin =
  | { readonly by: 'token'; readonly token: string }
  | { readonly by: 'token-file'; readonly path: string }
  /** A service account's token for a Vault token. */
  | { readonly by: 'kubernetes'; readonly role: string; readonly mount: string; readonly path: string };

export interface VaultSettings {
  readonly address: URL;
  readonly caFile: string | undefined;
  readonly namespace: string | undefined;
  /** Where the transit engine is mounted. */
  readonly mount: string;
  readonly login: VaultLogin;
}

const SERVICE_ACCOUNT_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token';
/** Mounts and namespaces are paths: nothing that a server would resolve or split. */
const PATH = /^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,100}(?:\/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,100}){0,8}$/;
const ROLE = /^[A-Za-z0-9_.-]{1,200}$/;
/** Tokens go into a header. */
const TOKEN = /^[\x21-\x7e]{1,4096}$/;

/** Throws KeyError, never with a token. */
export function readVaultSettings(env: Readonly<Record<string, string | undefined>>): VaultSettings {
  const namespace = env['VAULT_NAMESPACE'] || undefined;
  return {
    address: readAddress(env['VAULT_ADDR']),
    caFile: env['VAULT_CACERT'] || undefined,
    namespace: namespace === undefined ? undefined : path('VAULT_NAMESPACE', namespace.replace(/\/$/, '')),
    mount: path('TRANSIT_SECRET_ENGINE_PATH', env['TRANSIT_SECRET_ENGINE_PATH'] || 'transit'),
    login: readLogin(env),
  };
}

export function assertToken(token: string, from: string): string {
  if (TOKEN.test(token)) return token;
  throw new KeyError(
    'KeyNotConfigured',
    `expected a Vault token in ${printable(from)}: one word of printable characters`,
  );
}

function readAddress(text: string | undefined): URL {
  const url = text && URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '') {
    throw new KeyError(
      'KeyNotConfigured',
      `VAULT_ADDR: expected a URL such as https://vault.example:8200, found ${text ? 'no such URL' : 'nothing'}`,
    );
  }
  return url;
}

function readLogin(env: Readonly<Record<string, string | undefined>>): VaultLogin {
  const role = env['VAULT_KUBERNETES_ROLE'];
  if (role) {
    if (!ROLE.test(role)) throw new KeyError('KeyNotConfigured', 'VAULT_KUBERNETES_ROLE: expected the name of a role');
    const mount = path('VAULT_KUBERNETES_MOUNT', env['VAULT_KUBERNETES_MOUNT'] || 'kubernetes');
    return { by: 'kubernetes', role, mount, path: env['VAULT_KUBERNETES_TOKEN_FILE'] || SERVICE_ACCOUNT_TOKEN };
  }
  const [token, file, home] = [env['VAULT_TOKEN'], env['VAULT_TOKEN_FILE'], env['HOME']];
  if (token) return { by: 'token', token: assertToken(token, 'VAULT_TOKEN') };
  if (file) return { by: 'token-file', path: file };
  if (home) return { by: 'token-file', path: `${home}/.vault-token` };
  throw new KeyError(
    'KeyNotConfigured',
    'no way to log in to Vault: expected VAULT_KUBERNETES_ROLE in a pod, or VAULT_TOKEN or VAULT_TOKEN_FILE',
  );
}

function path(name: string, value: string): string {
  if (PATH.test(value)) return value;
  throw new KeyError(
    'KeyNotConfigured',
    `${name}: expected a path such as transit or team-a/transit, found "${printable(value, 100)}"`,
  );
}
