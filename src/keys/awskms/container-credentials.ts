/**
 * AWS credentials from an agent beside the container, by HTTP: that of EKS Pod Identity, or of ECS. Not by the SDK's own provider, which
 * never gives up a call that is not answered, and reads an answer of any length.
 */
import request from 'undici/lib/api/api-request.js';
import UndiciPool from 'undici/lib/dispatcher/pool.js';
import { z } from 'zod';
import { KeyError } from '../key-error.ts';
import { networkReason } from '../network-reason.ts';
import { readTextFile } from '../read-text-file.ts';

export interface ContainerCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string;
  readonly expiration: Date;
}

const URI = 'AWS_CONTAINER_CREDENTIALS_FULL_URI';
const TOKEN = 'AWS_CONTAINER_AUTHORIZATION_TOKEN';
/** By plain HTTP only what does not leave the machine. */
const LOCAL = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\]|169\.254\.170\.2|169\.254\.170\.23|\[fd00:ec2::23\])$/;
const MAX_ANSWER_BYTES = 64 * 1024;

const answerSchema = z.object({
  AccessKeyId: z.string().min(1),
  SecretAccessKey: z.string().min(1),
  Token: z.string().min(1),
  Expiration: z.iso.datetime({ offset: true }),
});

/**
 * Asks the agent that the environment names, each time. What it throws never has its answer.
 * @throws KeyError, here where the address or the token of the environment are of no use, and later where the agent does not answer
 */
export function containerCredentials(
  env: Readonly<Record<string, string | undefined>>,
): (signal: AbortSignal) => Promise<ContainerCredentials> {
  const url = readAddress(env[URI] ?? '');
  return async (signal) => {
    const authorization = await readToken(env);
    const pool = new UndiciPool(url.origin, { connections: 1, allowH2: false, maxResponseSize: MAX_ANSWER_BYTES });
    try {
      const { body, statusCode } = await request.call(pool, {
        method: 'GET',
        path: `${url.pathname}${url.search}`,
        headers: { accept: 'application/json', ...(authorization === undefined ? {} : { authorization }) },
        signal,
      });
      const text = await body.text();
      if (statusCode !== 200)
        throw unavailable(`it answered with HTTP ${statusCode}: does the service account have a role?`);
      return readAnswer(text);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof KeyError) throw error;
      throw unavailable(networkReason(error));
    } finally {
      await pool.destroy();
    }
  };
}

function readAddress(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'https:' || (url?.protocol === 'http:' && LOCAL.test(url.hostname))) return url;
  throw new KeyError('KeyNotConfigured', `${URI}: expected the address of an agent on this machine, or one by HTTPS`);
}

/** Undefined where there is none. Read each time: the kubelet writes another before it expires. */
async function readToken(env: Readonly<Record<string, string | undefined>>): Promise<string | undefined> {
  const file = env[`${TOKEN}_FILE`];
  const text = file ? await readTextFile(file, 'the token of the service account') : env[TOKEN];
  if (!file && !text) return undefined;
  const token = text?.replace(/\r?\n$/, '') ?? '';
  if (/^[\x20-\x7e]+$/.test(token)) return token;
  throw new KeyError('KeyNotConfigured', `${file ? `${TOKEN}_FILE` : TOKEN}: expected a token on one line`);
}

function readAnswer(text: string): ContainerCredentials {
  const found = answerSchema.safeParse(parse(text)).data;
  if (found === undefined) throw unavailable('its answer has no AccessKeyId, SecretAccessKey, Token and Expiration');
  const { AccessKeyId: accessKeyId, Expiration, SecretAccessKey: secretAccessKey, Token: sessionToken } = found;
  return { accessKeyId, secretAccessKey, sessionToken, expiration: new Date(Expiration) };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Also what it refuses: a role that was just given to a service account takes a moment to be known. */
function unavailable(why: string): KeyError {
  return new KeyError('KeyUnavailable', `the agent at ${URI} gave no AWS credentials: ${why}`);
}
