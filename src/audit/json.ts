/** An audit for programs, and for the report: plain data, times in RFC 3339. Pure. */
import { printable } from '../text/printable.ts';
import { formatRfc3339 } from '../text/rfc3339.ts';
import type { AuditEntry, AuditResult, ResourceSummary } from './result.ts';
import { isFinding } from './verdict.ts';

export function auditJson(result: AuditResult) {
  return {
    startedAt: formatRfc3339(result.startedAt),
    finishedAt: formatRfc3339(result.finishedAt),
    findings: result.findings,
    notAudited: result.notAudited,
    resources: result.resources.map(resourceJson),
    pods: result.entries.map(entryJson),
  };
}

function resourceJson({ findings, leaves, name, namespace, pods, resource, states }: ResourceSummary) {
  const ready = resource.status.conditions?.find(({ type }) => type === 'Ready');
  return {
    namespace,
    name,
    pods,
    findings,
    states,
    sameLeafEverywhere: leaves.length < 2,
    leaves: leaves.map((leaf) => ({ ...leaf, notAfter: formatRfc3339(leaf.notAfter) })),
    certificate: resource.status.certificate,
    ready: ready && { status: ready.status, reason: ready.reason },
  };
}

function entryJson({ served, subject, verdict }: AuditEntry) {
  const { endpoint, facts, pod, resource, secretName } = subject;
  return {
    namespace: pod.namespace,
    resource: resource.metadata.name,
    pod: pod.name,
    port: endpoint.known ? endpoint.port : undefined,
    state: verdict.state,
    finding: isFinding(verdict.state),
    message: printable(verdict.message, 1024),
    since: time(verdict.since),
    podCreatedAt: formatRfc3339(pod.createdAt),
    secret: facts && {
      name: secretName,
      issuedAt: time(facts.issuedAt),
      renewAt: time(facts.renewAt),
      expiresAt: time(facts.expiresAt),
      certificateSha256: facts.certificateSha256,
      credentialSha256: facts.credentialSha256,
    },
    served: served && {
      certificateSha256: served.certificateSha256,
      certificateNotAfter: time(served.certificateNotAfter),
      credentialSha256: served.credential?.sha256,
      expiresAt: time(served.credential?.expiresAt),
      problems: served.problems,
    },
  };
}

function time(seconds: number | undefined): string | undefined {
  return seconds === undefined ? undefined : formatRfc3339(seconds);
}
