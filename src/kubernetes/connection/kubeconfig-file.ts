/**
 * One file of a kubeconfig: read up to a limit, and checked against its format before client-node has it, which takes what it finds for
 * what it expects. https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
 */
import { createReadStream } from 'node:fs';
import { dirname, resolve } from 'node:path';
import * as z from 'zod/mini';
import { describeSchemaProblems } from '../../text/schema-problem.ts';
import { explainFileError } from '../../text/system-error.ts';
import { explainYamlError } from '../../text/yaml-error.ts';
import { isHeaderText } from './assertions.ts';
import { ConnectionError } from './connection-error.ts';
import type { ClusterExtras } from './exec-cluster.ts';

export interface KubeconfigFile {
  /** For client-node; relative paths in it count from `folder`. */
  readonly text: string;
  readonly folder: string;
  /** What client-node does not read of a user, by the user's name. */
  readonly users: ReadonlyMap<string, UserExtras>;
  /** The same of a cluster. */
  readonly clusters: ReadonlyMap<string, ClusterExtras>;
}

export interface UserExtras {
  /** Absolute. */
  readonly tokenFile: string | undefined;
  /** Fields that would change as whom the user acts, and that dcred does not send: `as-groups`. */
  readonly unsupported: readonly string[];
}

/** A thousand clusters with their CAs are five. */
const MAX_BYTES = 16 * 1024 * 1024;

/** As Go does, null is taken for nothing. */
const text = z.nullish(z.string());
/** Not quoted where it is of another type: a password of digits alone is a number in YAML. */
const secret = z.nullish(
  z
    .unknown()
    .check(
      z.refine(
        (value) => typeof value === 'string' && isHeaderText(value),
        'expected text of one line, found something else; a number needs quotes',
      ),
    ),
);
const named = <Shape extends z.core.$ZodShape>(shape: Shape) =>
  z.nullish(z.array(z.looseObject({ name: z.string().check(z.minLength(1)), ...shape })));

const schema = z.looseObject({
  'current-context': text,
  contexts: named({
    context: z.nullish(z.looseObject({ cluster: text, user: text })),
  }),
  clusters: named({
    cluster: z.nullish(
      z.looseObject({
        server: text,
        'certificate-authority': text,
        'certificate-authority-data': text,
        'insecure-skip-tls-verify': z.nullish(z.boolean()),
        'tls-server-name': text,
        'proxy-url': text,
        'disable-compression': z.nullish(z.boolean()),
        extensions: named({ extension: z.unknown() }),
      }),
    ),
  }),
  users: named({
    user: z.nullish(
      z.looseObject({
        as: z.nullish(
          z
            .string()
            .check(z.refine((value) => isHeaderText(value), 'expected the name of a user, found other characters')),
        ),
        'auth-provider': z.nullish(z.looseObject({ name: z.string(), config: z.record(z.string(), z.unknown()) })),
        'client-certificate': text,
        'client-certificate-data': text,
        'client-key': text,
        'client-key-data': z.nullish(
          z.unknown().check(z.refine((value) => typeof value === 'string', 'expected base64, found something else')),
        ),
        exec: z.nullish(
          z.looseObject({
            apiVersion: text,
            command: z.string().check(z.minLength(1)),
            args: z.nullish(z.array(z.string())),
            env: z.nullish(z.array(z.looseObject({ name: z.string(), value: z.string() }))),
            provideClusterInfo: z.nullish(z.boolean()),
          }),
        ),
        password: secret,
        token: secret,
        tokenFile: text,
        username: text,
      }),
    ),
  }),
});

/** Of impersonation, client-node sends `as` alone. */
const IMPERSONATION = ['as-groups', 'as-uid', 'as-user-extra'] as const;

/** client-go's name for what a cluster tells credential plug-ins. */
const EXEC_EXTENSION = 'client.authentication.k8s.io/exec';

/** An empty file is a kubeconfig with nothing in it, as it is for kubectl. @throws ConnectionError */
export async function readKubeconfigFile(file: string): Promise<KubeconfigFile> {
  const content = await readUpTo(file, MAX_BYTES);
  const isEmpty = content.trim() === '';
  const value = isEmpty ? {} : await parseYaml(file, content);
  const parsed = schema.safeParse(value);
  if (!parsed.success) {
    const problems = describeSchemaProblems(parsed.error.issues, { schema, value });
    throw new ConnectionError(`${file} is not a valid kubeconfig: ${problems}`);
  }
  const folder = dirname(file);
  const users = new Map<string, UserExtras>();
  for (const { name, user } of parsed.data.users ?? []) {
    if (users.has(name)) continue;
    const { tokenFile } = user ?? {};
    users.set(name, {
      tokenFile: tokenFile ? resolve(folder, tokenFile) : undefined,
      unsupported: IMPERSONATION.filter((field) => user?.[field] !== undefined && user[field] !== null),
    });
  }
  const clusters = new Map<string, ClusterExtras>();
  for (const { cluster, name } of parsed.data.clusters ?? []) {
    if (clusters.has(name)) continue;
    clusters.set(name, {
      server: cluster?.server ?? undefined,
      disableCompression: cluster?.['disable-compression'] === true,
      execConfig: cluster?.extensions?.find((one) => one.name === EXEC_EXTENSION)?.extension,
    });
  }
  return { text: isEmpty ? '{}' : content, folder, users, clusters };
}

/** From a pipe too: kubectl also takes what a shell's process substitution gives. */
async function readUpTo(file: string, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of createReadStream(file)) {
      chunks.push(chunk as Buffer);
      size += (chunk as Buffer).length;
      if (size > maxBytes) throw new ConnectionError(`${file} is not a kubeconfig: it has more than ${maxBytes} bytes`);
    }
  } catch (error) {
    if (error instanceof ConnectionError) throw error;
    const why = explainFileError(file, error);
    throw new ConnectionError(`no kubeconfig: ${why}; name another with --kubeconfig or KUBECONFIG`);
  }
  return Buffer.concat(chunks, size).toString('utf8');
}

async function parseYaml(file: string, content: string): Promise<unknown> {
  const { load } = await import('js-yaml');
  try {
    return load(content);
  } catch (error) {
    throw new ConnectionError(`${file} is not a valid kubeconfig: ${explainYamlError(error)}`);
  }
}
