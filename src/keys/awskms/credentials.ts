/**
 * AWS credentials in a pod and in a shell, by the environment variables that AWS' own tools read: static ones, a web identity (IRSA:
 * AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN), or a container's (EKS Pod Identity: AWS_CONTAINER_CREDENTIALS_FULL_URI). The SDK's own
 * chain would add profiles, single sign-on and instance metadata: 300 KB, for a process that runs in a pod.
 */
import { fromTokenFile } from '@aws-sdk/credential-provider-web-identity';
import type { Clock } from '../../kubernetes/clock.ts';
import { Deadline, untilAborted } from '../../kubernetes/deadline.ts';
import { KeyError } from '../key-error.ts';
import { BoundedHandler } from './bounded-handler.ts';
import { containerCredentials } from './container-credentials.ts';
import { awsEndpoint } from './endpoint.ts';

type Env = Readonly<Record<string, string | undefined>>;
type Provider = ReturnType<typeof fromTokenFile>;
type Source = (signal: AbortSignal, options: Parameters<Provider>[0]) => ReturnType<Provider>;

/** The SDK gives what it is waiting for to every caller: what is never answered would hold up all of them for ever. */
const ANSWER_MS = 10_000;

/** Throws KeyError where the environment names none. */
export function awsCredentials(env: Env, region: string, clock: Clock): Provider {
  const source = fromEnvironment(env, region);
  return async (options) => {
    using deadline = new Deadline(new AbortController().signal, clock, ANSWER_MS);
    try {
      return await untilAborted(source(deadline.signal, options), deadline.signal);
    } catch (error) {
      if (!deadline.expired) throw error;
      throw new KeyError('KeyUnavailable', `nothing gave AWS credentials in ${ANSWER_MS / 1000} s`);
    }
  };
}

function fromEnvironment(env: Env, region: string): Source {
  const {
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_SESSION_TOKEN: sessionToken,
  } = env;
  if (accessKeyId && secretAccessKey) {
    return async () => ({ accessKeyId, secretAccessKey, ...(sessionToken ? { sessionToken } : {}) });
  }
  const { AWS_ROLE_ARN: roleArn, AWS_WEB_IDENTITY_TOKEN_FILE: webIdentityTokenFile } = env;
  if (roleArn && webIdentityTokenFile) {
    const endpoint = awsEndpoint(env, 'STS');
    const provider = fromTokenFile({
      roleArn,
      webIdentityTokenFile,
      roleSessionName: env['AWS_ROLE_SESSION_NAME'] || 'dcred',
      clientConfig: { region, requestHandler: new BoundedHandler(), ...(endpoint === undefined ? {} : { endpoint }) },
    });
    return async (_signal, options) => await provider(options);
  }
  if (env['AWS_CONTAINER_CREDENTIALS_FULL_URI']) return containerCredentials(env);
  throw new KeyError(
    'KeyNotConfigured',
    'there are no AWS credentials: expected AWS_ROLE_ARN with AWS_WEB_IDENTITY_TOKEN_FILE (annotate the service account with ' +
      'eks.amazonaws.com/role-arn), AWS_CONTAINER_CREDENTIALS_FULL_URI (EKS Pod Identity), or AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY',
  );
}
