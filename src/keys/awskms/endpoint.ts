import { KeyError } from '../key-error.ts';

/** Of a service, by the environment variables that AWS' own tools read; undefined: AWS' own. Throws KeyError. */
export function awsEndpoint(
  env: Readonly<Record<string, string | undefined>>,
  service: 'KMS' | 'STS',
): string | undefined {
  const url = env[`AWS_ENDPOINT_URL_${service}`] || env['AWS_ENDPOINT_URL'] || undefined;
  if (url === undefined || URL.canParse(url)) return url;
  throw new KeyError(
    'KeyNotConfigured',
    `AWS_ENDPOINT_URL_${service} or AWS_ENDPOINT_URL: expected a URL such as https://kms.example`,
  );
}
