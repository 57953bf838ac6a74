import { readFile } from 'node:fs/promises';
import { request } from 'node:https';

/** Whether `url` answers 200 to a client with this certificate. The three are paths. */
export async function isReady(
  url: string,
  paths: { readonly ca: string; readonly certificate: string; readonly key: string },
): Promise<boolean> {
  const [ca, cert, key] = await Promise.all([readFile(paths.ca), readFile(paths.certificate), readFile(paths.key)]);
  return new Promise((resolve) => {
    const call = request(url, { ca, cert, key, agent: false, timeout: 60_000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    call.once('error', () => resolve(false));
    call.once('timeout', () => call.destroy());
    call.end();
  });
}
