/** `dcred audit --every`: what the chart runs in the cluster. */

import { AUDIT_CONTROLLER_NAME, AUDIT_FIELD_MANAGER } from '../../api/keys.ts';
import { type AuditOptions, audit } from '../../audit/audit.ts';
import { type AuditScope, collectAudit } from '../../audit/collect.ts';
import { AuditMetrics } from '../../audit/metrics.ts';
import { Publisher } from '../../audit/publisher.ts';
import { runSchedule } from '../../audit/schedule.ts';
import type { ApiClient } from '../../kubernetes/client/api-client.ts';
import { systemClock } from '../../kubernetes/clock.ts';
import type { Connection } from '../../kubernetes/connection/connection.ts';
import { EventRecorder } from '../../kubernetes/events/event-recorder.ts';
import { VERSION } from '../../version.ts';
import type { CommandArguments, CommandIo } from '../command.ts';
import { type HttpServer, probeHandler, scrapes, serveHttp } from '../http-server.ts';
import { createClient, instanceName } from '../options/kubernetes-options.ts';
import { scrapeAuthorizer } from '../options/metrics-guard.ts';
import { createLogger, readAddress } from '../options/server-options.ts';

export interface AuditScheduleOptions {
  readonly connection: Connection;
  readonly scope: AuditScope;
  readonly intervalSeconds: number;
  readonly optionsWith: (client: ApiClient) => Omit<AuditOptions, 'input'>;
}

/** Events in flight at the end. */
const FLUSH_MS = 5_000;

/** Runs until the signal aborts. */
export async function auditOnSchedule(
  args: CommandArguments,
  io: CommandIo,
  { connection, intervalSeconds, optionsWith, scope }: AuditScheduleOptions,
): Promise<void> {
  const [metricsAddress, healthAddress] = [
    readAddress(args, 'metrics-bind-address'),
    readAddress(args, 'health-probe-bind-address'),
  ];
  const log = createLogger(args.required('log-level'), io);
  const metrics = new AuditMetrics(VERSION);
  metrics.engine.collectProcessMetrics();
  const client = createClient(connection, {
    fieldManager: AUDIT_FIELD_MANAGER,
    observe: (call) => metrics.engine.apiCall(call),
  });
  const events = new EventRecorder({
    client,
    controller: AUDIT_CONTROLLER_NAME,
    instance: instanceName(io),
    namespace: 'default',
    clock: systemClock,
    log,
    onDropped: (reason) => metrics.engine.eventDropped(reason),
  });
  const authorize = scrapeAuthorizer(args, client, io.signal);
  const servers: HttpServer[] = [];
  try {
    const probes = { '/healthz': probeHandler(() => undefined), '/readyz': probeHandler(() => undefined) };
    if (healthAddress !== undefined) servers.push(await serveHttp(healthAddress, probes));
    if (metricsAddress !== undefined)
      servers.push(await serveHttp(metricsAddress, scrapes(metrics.registry), authorize));
    log.info({ version: VERSION, server: connection.server, intervalSeconds }, 'starting');
    const options = optionsWith(client);
    await runSchedule(
      {
        collect: (signal) => collectAudit(client, scope, signal),
        audit: (input, signal) => audit({ ...options, input }, signal),
        publisher: new Publisher({ client, events, log, now: () => io.now() }),
        metrics,
        intervalMs: intervalSeconds * 1000,
        clock: systemClock,
        log,
      },
      io.signal,
    );
    await events.flush(AbortSignal.timeout(FLUSH_MS));
  } finally {
    await Promise.all(servers.map((server) => server.close()));
    await client.close();
  }
}
