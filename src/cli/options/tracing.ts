/** Turns tracing on where the environment asks for it. */

import type { ApiCall } from '../../kubernetes/client/api-types.ts';
import { systemClock } from '../../kubernetes/clock.ts';
import type { Logger } from '../../kubernetes/log.ts';
import { readTracingEnvironment } from '../../tracing/environment.ts';
import type { Tracing } from '../../tracing/tracing.ts';
import { VERSION } from '../../version.ts';
import type { CommandIo } from '../command.ts';
import { instanceName } from './kubernetes-options.ts';

/** Undefined: off, and nothing of OpenTelemetry is loaded. */
export async function startTracing(io: CommandIo, service: string, log: Logger): Promise<Tracing | undefined> {
  const { settings, warnings } = readTracingEnvironment(io.env, service);
  for (const warning of warnings) log.warn({ detail: warning }, 'tracing setting not used as given');
  if (settings === undefined) return undefined;
  const { OpenTelemetry } = await import('../../tracing/open-telemetry.ts');
  const tracing = new OpenTelemetry({
    settings,
    version: VERSION,
    instance: instanceName(io),
    clock: systemClock,
    log,
  });
  log.info({ service: settings.serviceName }, 'exporting traces');
  return tracing;
}

/** A call to the API server that has just been answered, as part of the work that it was made for. */
export function traceApiCall(tracing: Tracing | undefined, { method, plural, seconds, status, verb }: ApiCall): void {
  tracing?.ended({
    name: `${verb} ${plural}`,
    attributes: { 'http.request.method': method, 'http.response.status_code': status },
    seconds,
    failed: status === 0 || status >= 400,
  });
}
